/** Every word the pages say, in one place. Functions where a value goes into the sentence. */
export const text = {
  brand: 'Countersign',

  connection: {
    connecting: 'Connecting…',
    connected: 'Connected',
    reconnecting: 'Reconnecting…',
    closed: 'Not connected',
  },

  closed: {
    title: 'The connection was closed',
    again: 'Connect again',
    reasons: {
      1008: 'The gateway closed it because this page sent too much at once.',
      1013: 'The gateway is full. Try again in a minute.',
      4502: 'The gateway closed it because nothing was asked of it in time.',
      4504: 'You are connected too many times. Close another window first.',
      4505: 'The service ended this connection.',
      4507: 'The service does not allow this connection.',
    },
    other: (code) => `The gateway closed it for good (code ${code}).`,
  },

  account: {
    signOut: 'Sign out',
    userId: 'User id',
    userIdHint: 'Letters, digits and _ . - @, up to 64',
    name: 'Name shown to others',
    nameHint: 'Optional',
    password: 'Password',
    signIn: 'Sign in',
    register: 'Create account',
    toRegister: 'No account yet? Create one',
    toSignIn: 'Have an account? Sign in',
    working: 'One moment…',
    wrong: 'User id or password is wrong.',
    exists: 'This user id is taken. Choose another one, or sign in.',
    registrationClosed: 'New accounts are not open to everybody here. Ask the people who run this service.',
    bad: (detail) => `That was not accepted${detail ? `: ${detail}` : ''}. Check the fields and try again.`,
    signOutUntold: 'Signed out here, but the gateway could not be told. The session ends by itself when it expires.',
    ended: {
      revoked: 'You were signed out: the session was ended elsewhere.',
      refused: 'Your session is over. Sign in again.',
    },
  },

  signIn: {
    title: 'Sign in with your phone',
    lead: 'Scan the code with a phone where you are signed in, then type the number you will see here.',
    codeAlt: 'QR code to scan with your phone',
    link: 'Or open its address in another window',
    cancel: 'Cancel',
    again: 'New code',
    password: 'Sign in with a password',
    opening: 'Getting a code…',
    waiting: 'Waiting for a phone to scan the code.',
    scanned: (name) => `${name} scanned the code.`,
    type: (code) => `Type ${code} on the phone.`,
    confirmThere: 'Now confirm on the phone.',
    confirmed: 'Confirmed. Signing in…',
    redeemed: 'Signed in.',
    somebody: 'Somebody',
    left: (time) => `Valid for ${time}`,
    rotates: (seconds) => `new picture in ${seconds} s`,
    welcome: (name) => `Signed in as ${name}.`,
    denied: { title: 'Denied', text: 'The phone said no. If that was a slip, start again with a new code.' },
    deniedReasons: {
      match_failed: 'A wrong number was typed three times. Start again with a new code.',
      revoked: 'The phone’s own session was ended meanwhile. Sign in on the phone, then use a new code.',
    },
    cancelled: { title: 'Cancelled', text: 'This code is no longer valid. Nobody was signed in.' },
    expired: { title: 'Expired', text: 'This code ran out of time. Get a new one when you are ready.' },
    expiredReasons: {
      unconfirmed: 'The phone scanned the code but did not confirm in time. Start again with a new code.',
      unredeemed: 'The confirmation came, but this page could not pick it up in time. Start again with a new code.',
      lost: 'The gateway no longer knows this code. Get a new one.',
    },
    failed: { title: 'No code', text: 'The gateway gave no code.' },
    limited: (seconds) => `Too many codes were asked for from here. Try again in ${seconds} s.`,
  },

  room: {
    viewers: (n) => (n === 1 ? 'viewer' : 'viewers'),
    members: (n) => (n === 1 ? 'member' : 'members'),
    likes: (n) => (n === 1 ? 'like' : 'likes'),
    like: 'Like',
    people: 'Members',
    noPeople: 'Nobody yet',
    you: 'you',
    roles: { owner: 'owner', moderator: 'moderator' },
    more: (n) => `and ${n} more`,
    messages: 'Messages',
    empty: 'No messages yet. Say hello.',
    write: 'Write a message',
    send: 'Send',
    sending: 'Sending…',
    waiting: 'Waiting for the connection…',
    again: 'Try again',
    drop: 'Discard',
    server: 'The service',
    viaServer: 'sent by the service',
    gap: (from, to) => (from === to ? `Message ${from} is missing here.` : `Messages ${from} to ${to} are missing here.`),
    notRecovered: 'You were away for too long. What was said meanwhile is missing here.',
    newEpoch: 'The room was started anew. What was said before may be missing here.',
    load: 'Load what was missed',
    gone: 'It can no longer be loaded.',
    newDevice: (device, ip) => `Your account just signed in on another device: ${device}${ip ? ` (${ip})` : ''}.`,
    unknownDevice: 'unknown device',
    shed: 'The room is too busy: not sent.',
    notSent: (reason) => `Not sent: ${reason}`,
    left: {
      kicked: 'You were removed from this room.',
      banned: 'You are banned from this room.',
      closed: 'This room is closed.',
      not_allowed: 'You may not be in this room.',
      not_found: 'There is no such room.',
      bad_request: 'That is not the name of a room.',
      other: 'You are no longer in this room.',
    },
    rejoin: 'Join again',
  },

  confirm: {
    title: 'Sign in another device',
    signInFirst: 'Sign in here first. Nothing happens to the code by opening this page.',
    readyTitle: 'Is the code on a screen in front of you?',
    ready: 'Going on lets the device that shows the code ask for access to your account. If somebody sent you this '
      + 'code or address, stop here: they would be signed in as you.',
    inFront: 'The code is on a screen in front of me',
    notInFront: 'No, somebody sent it to me',
    whoAsks: 'This device asks to be signed in as you',
    device: 'Device',
    ip: 'Address',
    sameNetwork: '(same network as this phone)',
    agent: 'Program',
    age: 'Code shown',
    ageAgo: (seconds) => (seconds < 5 ? 'just now' : seconds < 90 ? `${seconds} seconds ago` : `${Math.round(seconds / 60)} minutes ago`),
    client: 'For',
    unnamed: 'unnamed',
    unknown: 'unknown',
    kinds: { pc: 'computer', web: 'browser', ios: 'iPhone or iPad', android: 'Android', tv: 'TV', other: 'other' },
    number: 'The two digits on that screen',
    numberHint: 'Type them only if you read them yourself, on the screen in front of you.',
    confirm: 'Confirm',
    deny: 'Deny',
    left: (seconds) => `${seconds} s left to decide`,
    timeUp: 'The time to decide is over.',
    room: 'Open the room in this window',
    scanAgain: 'Start again',
    done: { title: 'Confirmed – look at your other screen', text: 'It should be signed in within a moment. If it is not, '
      + 'get a new code there and scan it again.' },
    denied: { title: 'Denied', text: 'The other device was not signed in.' },
    stopped: { title: 'Nothing happened', text: 'The code was not used. You can close this page. If somebody asked you '
      + 'to open it, do not do what they say.' },
    unsupported: 'This code needs a kind of confirmation this page does not know. Deny it, or use the app.',
  },

  /** What each refusal means and what to do, for a phone's calls on a code. */
  refusals: {
    not_found: { title: 'This code is no longer valid', text: 'Codes change every 45 seconds and end after 5 minutes. '
      + 'Scan the code on the screen again.' },
    already_scanned: { title: 'Somebody else scanned this code first', text: 'Only the first to scan a code can use it. '
      + 'If that was not you, press Cancel on the screen and scan the new code.' },
    already_confirmed: { title: 'Already confirmed', text: 'You have confirmed this code before. Look at your other screen.' },
    already_final: { title: 'This code is used up', text: 'Get a new code on the other screen and scan that.' },
    scan_token_invalid: { title: 'This page is out of date', text: 'The code was opened again in another window or by '
      + 'another sign-in. Go on there, or start again here.' },
    match_required: { title: 'The number is missing', text: 'Type the two digits the other screen shows.' },
    match_failed: { title: 'That is not the number', text: 'Read the two digits on the other screen again.' },
    rate_limited: { title: 'Too many tries', text: 'Wait, then try again.' },
    policy_denied: { title: 'Not allowed', text: 'The people who run this service do not allow this account or device '
      + 'to sign in another one.' },
    step_up_required: { title: 'Your password is asked for', text: 'This service wants the password again before it '
      + 'confirms. This page cannot ask for it yet: use the app.' },
    unauthenticated: { title: 'You are signed out', text: 'Sign in, then go on.' },
    unreachable: { title: 'The gateway did not answer', text: 'Check your connection, then try again.' },
    other: { title: 'That did not work', text: 'Try again. If it stays so, get a new code on the other screen.' },
  },
  refusalAfter: (seconds) => `You can try again in ${seconds} s.`,
  triesLeft: (n) => (n === 1 ? 'One more try.' : `${n} more tries.`),

  /** How a code can end, told to the phone. */
  finals: {
    redeemed: { title: 'Already used', text: 'This code has signed in a device. To sign in another, get a new code there.' },
    denied: { title: 'Denied', text: 'This code was denied and nobody was signed in. Get a new code to try again.' },
    cancelled: { title: 'Cancelled on the other screen', text: 'Nobody was signed in. Get a new code there to try again.' },
    expired: { title: 'This code ran out of time', text: 'Get a new code on the other screen and scan that.' },
    match_failed: { title: 'Denied: three wrong numbers', text: 'Nobody was signed in. Get a new code on the other '
      + 'screen, and type the number it shows.' },
  },

  errors: {
    rate_limited: (seconds) => `too fast. Try again in ${seconds} s.`,
    slow_mode: (seconds) => `this room is in slow mode. Try again in ${seconds} s.`,
    muted: 'you are muted in this room.',
    banned: 'you are banned from this room.',
    too_large: 'the message is too long.',
    unauthenticated: 'you are not signed in.',
    not_joined: 'you are not in this room.',
    not_allowed: 'you may not do that here.',
    uncertain: 'the connection was away for too long. It may have arrived or not: look before sending it again.',
    disconnected: 'there is no connection.',
    unreachable: 'the gateway did not answer.',
    other: (code) => `the gateway refused (${code}).`,
  },
};

/** A failed call in words. @param {{code: string, after_ms?: number}} error @returns {string} */
export function explain(error) {
  const entry = text.errors[error.code];
  if (typeof entry === 'function') return entry(seconds(error.after_ms));
  return entry ?? text.errors.other(error.code);
}

/** Whole seconds to wait, never zero. @param {number | undefined} ms */
export function seconds(ms) {
  return Math.max(1, Math.ceil((ms ?? 1000) / 1000));
}
