//! Pure decisions: no I/O, no async, no locks, no clock, no logging. Time comes in as an argument.
