//! A path of which it is known what it allocates. `make bench` counts it first: were an allocator's function renamed,
//! inlined or called by a way that callgrind does not see, every count would be too small, and here it is seen.

use std::hint::black_box;

use crate::paths::Path;
use crate::profile::Allocations;

/// Not among the paths: it has no baseline, for it has no tolerance.
pub const NAME: &str = "harness/allocations";

/// Different ones, so that none is taken for another.
pub const ALLOCATES: Allocations = Allocations {
    malloc: 3,
    calloc: 5,
    realloc: 7,
    aligned: 11,
};

/// More than `malloc` aligns to, so that `posix_memalign` is asked.
#[repr(align(128))]
struct Aligned(u64);

/// Allocates just that often, and frees all but one, which grows from run to run.
pub fn path() -> Path {
    Path::new(NAME, (ALLOCATES.total(), "allocation"), || {
        let mut growing: Vec<u8> = Vec::with_capacity(64);
        move || {
            for n in 0..ALLOCATES.malloc {
                drop(black_box(Box::new(black_box(n))));
            }
            for _ in 0..ALLOCATES.calloc {
                drop(black_box(vec![0_u8; black_box(256)]));
            }
            for _ in 0..ALLOCATES.realloc {
                growing.reserve_exact(black_box(growing.capacity() + 64));
                black_box(&growing);
            }
            for n in 0..ALLOCATES.aligned {
                let aligned = black_box(Box::new(Aligned(n)));
                assert_eq!(aligned.0, n);
            }
            ALLOCATES.total()
        }
    })
}
