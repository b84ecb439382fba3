// Made from contracts/source by `npm run make` in contracts/; do not edit.
// What travels over the WebSocket and HTTP; docs/protocol.md is the prose.

/**
 * A room as a client may write it: without a colon its namespace is `default`.
 */
export type Room = string;
/**
 * A room with its namespace.
 */
export type RoomName = string;
/**
 * Who somebody is; nothing else identifies a user.
 */
export type UserId = string;
/**
 * Chosen by the client, kept as long as the installation lives, shown to nobody.
 */
export type DeviceId = string;
/**
 * Absent means `other`.
 */
export type DeviceKind = 'pc' | 'web' | 'ios' | 'android' | 'tv' | 'other';
/**
 * `viewer` is not signed in; this version gives `viewer` and `member`.
 */
export type Role = 'viewer' | 'member' | 'moderator' | 'owner';
/**
 * What may be dropped first under pressure; absent means `normal`.
 */
export type Priority = 'high' | 'normal' | 'low';
/**
 * A QR login as its code names it: public, another with each rotation. One spelling each.
 */
export type QrId = string;
/**
 * 256 random bits in base64url.
 */
export type Secret = string;
/**
 * The two digits of the number match.
 */
export type Digits = string;
/**
 * Normalised; decoration, not identity.
 */
export type DisplayName = string;
/**
 * Of the registered client that asks, or that the session was opened for; absent without one.
 */
export type ClientName = string;
/**
 * An address with a host and without credentials; 512 bytes at most.
 */
export type Avatar = string;
/**
 * Who types what the other side shows. `none`: nobody has to, or it has been typed.
 */
export type MatchMode = 'phone_types' | 'pc_types' | 'none';
export type QrState = 'waiting' | 'scanned' | 'confirmed' | 'redeemed' | 'denied' | 'cancelled' | 'expired';
export type QrReason = 'idle' | 'unconfirmed' | 'unredeemed' | 'match_failed' | 'revoked' | 'user' | 'superseded';
/**
 * Of an event of one QR login: 1 for its opening, rising by one.
 */
export type Seq = number;
/**
 * Of a message in one epoch of its room, rising by one.
 */
export type Offset = number;
/**
 * This life of a room's numbering; opaque.
 */
export type Epoch = string;
/**
 * Opaque.
 */
export type SessionId = string;
/**
 * A JWT (EdDSA, `at+jwt`), bound to a device or a key; opaque to clients.
 */
export type AccessToken = string;
/**
 * Works once; opaque.
 */
export type RefreshToken = string;
export type TokenType = 'Bearer' | 'DPoP';
/**
 * `bad_request`: malformed (426 at the handshake where Upgrade is missing); `unknown_command`: no such command; `unauthenticated`: sign in first; `invalid_token`: token, proof, password or refresh token does not work; `device_mismatch`: another device than the token or the connection is bound to; `not_allowed`: signed in, and not permitted; `not_found`: no such thing, or none this caller may know of; `not_joined`: join the room first; `already_joined`: joined already; `muted`: not used in this version; `banned`: not used in this version; `slow_mode`: not used in this version; `rate_limited`: too many; after_ms says when; `too_large`: above the announced bound (431 for a header); `limit_reached`: a count of the caller's own is at its bound; `conflict`: contradicts what is so already; `unavailable`: not at the moment: draining, or a bound of the node; `internal`: the gateway failed; `already_scanned`: another phone was first; `already_confirmed`: this phone has confirmed; `already_final`: the attempt has ended (410 when expired); `scan_token_invalid`: used, replaced, or another phone's; `match_required`: give the number; `match_failed`: the number was wrong; `step_up_required`: ask for the account's password and send it as password; `policy_denied`: this account may not sign in to the client that asks; `account_locked`: the operator locked this account; told only to who proved to be its owner (section 3.3); `user_exists`: HTTP only; `registration_closed`: HTTP only; `origin_rejected`: handshake, and HTTP requests that change something; `method_not_allowed`: HTTP only; `timeout`: HTTP only
 */
export type ErrorCode =
  | 'bad_request'
  | 'unknown_command'
  | 'unauthenticated'
  | 'invalid_token'
  | 'device_mismatch'
  | 'not_allowed'
  | 'not_found'
  | 'not_joined'
  | 'already_joined'
  | 'muted'
  | 'banned'
  | 'slow_mode'
  | 'rate_limited'
  | 'too_large'
  | 'limit_reached'
  | 'conflict'
  | 'unavailable'
  | 'internal'
  | 'already_scanned'
  | 'already_confirmed'
  | 'already_final'
  | 'scan_token_invalid'
  | 'match_required'
  | 'match_failed'
  | 'step_up_required'
  | 'policy_denied'
  | 'account_locked'
  | 'user_exists'
  | 'registration_closed'
  | 'origin_rejected'
  | 'method_not_allowed'
  | 'timeout';
/**
 * What a device shows and a phone types.
 */
export type UserCode = string;
/**
 * `invalid_request`: a parameter is missing, doubled or malformed; `invalid_client`: no such client, or its authentication failed; `invalid_grant`: the device code or refresh token is unknown, another client's, or has been used; `unauthorized_client`: this client may not do this; `unsupported_grant_type`: `/oauth/token` knows two grant types; `invalid_scope`: the client may not ask for that; `authorization_pending`: nobody has confirmed yet; `slow_down`: nobody has confirmed yet, and the device asks too often; `access_denied`: denied on the phone, or cancelled; `expired_token`: the device code has expired; `invalid_token`: the access token does not work here; `temporarily_unavailable`: too many, or not at the moment; `Retry-After` says when; `server_error`: the gateway failed
 */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'authorization_pending'
  | 'slow_down'
  | 'access_denied'
  | 'expired_token'
  | 'invalid_token'
  | 'temporarily_unavailable'
  | 'server_error';
/**
 * One change of a QR login.
 */
export type QrEvent = QrWaiting | QrScanned | QrConfirmed | QrDone | QrEnded;
/**
 * The answer to `qr.redeem`.
 */
export type QrRedeemReply =
  | {
      /**
       * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
       */
      id: number;
      type: 'ok';
      token_type: TokenType;
      /**
       * Life of the access token, milliseconds
       */
      expires_in_ms: number;
      user: User;
      session: SessionId;
      access_token: AccessToken;
      refresh_token: RefreshToken;
    }
  | {
      /**
       * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
       */
      id: number;
      type: 'ok';
      token_type: TokenType;
      /**
       * Life of the access token, milliseconds
       */
      expires_in_ms: number;
      user: User;
      session: SessionId;
      /**
       * JWE in compact form with the JSON of the two tokens: the opening had a `public_key`.
       */
      sealed: string;
    };
/**
 * The answer to `send`.
 */
export type SendReply =
  | {
      /**
       * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
       */
      id: number;
      type: 'ok';
      offset: Offset;
      /**
       * When it was sequenced, Unix milliseconds
       */
      at_ms: number;
      /**
       * The first result of this `cid`.
       */
      duplicate?: true;
    }
  | {
      /**
       * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
       */
      id: number;
      type: 'ok';
      /**
       * Not sequenced: the room is overloaded.
       */
      shed: true;
      /**
       * When to try again, milliseconds
       */
      after_ms: number;
    };
/**
 * What a client sends.
 */
export type Command =
  | AuthCommand
  | RefreshCommand
  | PingCommand
  | QrOpenCommand
  | QrWatchCommand
  | QrAnswerCommand
  | QrCancelCommand
  | QrRedeemCommand
  | JoinCommand
  | LeaveCommand
  | SendCommand
  | LikeCommand
  | MembersCommand
  | HistoryCommand;
/**
 * What answers a command; which fields it has depends on the command.
 */
export type Reply =
  | AuthReply
  | RefreshReply
  | PingReply
  | QrOpenReply
  | QrWatchReply
  | QrAnswerReply
  | QrCancelReply
  | QrRedeemReply
  | JoinReply
  | LeaveReply
  | SendReply
  | LikeReply
  | MembersReply
  | HistoryReply
  | ErrorReply;
/**
 * What the gateway tells unasked.
 */
export type Push =
  | Hello
  | CountsPush
  | RoomPush
  | Presence
  | MePush
  | Gap
  | Left
  | Reconnect
  | SessionExpiring
  | SessionExpired
  | SessionRevoked
  | SessionNewDevice
  | Message
  | QrWaiting
  | QrScanned
  | QrConfirmed
  | QrDone
  | QrEnded;
/**
 * RFC 8628 §3.4 and RFC 6749 §6.
 */
export type TokenForm =
  | {
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code';
      device_code: Secret;
      /**
       * As registered. Not needed where the client authenticates by HTTP Basic.
       */
      client_id?: string;
      /**
       * Of a confidential client that does not authenticate by HTTP Basic; never both.
       */
      client_secret?: string;
    }
  | {
      grant_type: 'refresh_token';
      refresh_token: RefreshToken;
      /**
       * As registered. Not needed where the client authenticates by HTTP Basic.
       */
      client_id?: string;
      /**
       * Of a confidential client that does not authenticate by HTTP Basic; never both.
       */
      client_secret?: string;
      /**
       * What was granted, or absent.
       */
      scope?: string;
    };
export type QrRedeemed =
  | {
      token_type: TokenType;
      /**
       * Life of the access token, milliseconds
       */
      expires_in_ms: number;
      user: User;
      session: SessionId;
      access_token: AccessToken;
      refresh_token: RefreshToken;
    }
  | {
      token_type: TokenType;
      /**
       * Life of the access token, milliseconds
       */
      expires_in_ms: number;
      user: User;
      session: SessionId;
      /**
       * JWE in compact form with the JSON of the two tokens: the opening had a `public_key`.
       */
      sealed: string;
    };
/**
 * Everything that travels between a Countersign gateway and its clients; by itself, one frame of the WebSocket.
 */
export type Frame = Command | Reply | Push;

/**
 * Every type by its name.
 */
export interface Types {
  Room: Room;
  RoomName: RoomName;
  UserId: UserId;
  DeviceId: DeviceId;
  DeviceKind: DeviceKind;
  Role: Role;
  Priority: Priority;
  QrId: QrId;
  Secret: Secret;
  Digits: Digits;
  DisplayName: DisplayName;
  ClientName: ClientName;
  Avatar: Avatar;
  MatchMode: MatchMode;
  QrState: QrState;
  QrReason: QrReason;
  Seq: Seq;
  Offset: Offset;
  Epoch: Epoch;
  SessionId: SessionId;
  AccessToken: AccessToken;
  RefreshToken: RefreshToken;
  TokenType: TokenType;
  ErrorCode: ErrorCode;
  User: User;
  Member: Member;
  Device: Device;
  Scanner: Scanner;
  Match: Match;
  Counts: Counts;
  RoomInfo: RoomInfo;
  Me: Me;
  Message: Message;
  UserCode: UserCode;
  OAuthErrorCode: OAuthErrorCode;
  OAuthError: OAuthError;
  DeviceAuthorization: DeviceAuthorization;
  OAuthTokens: OAuthTokens;
  Introspection: Introspection;
  UserInfo: UserInfo;
  AuthorizationServer: AuthorizationServer;
  QrWaiting: QrWaiting;
  QrScanned: QrScanned;
  QrConfirmed: QrConfirmed;
  QrDone: QrDone;
  QrEnded: QrEnded;
  QrEvent: QrEvent;
  AuthCommand: AuthCommand;
  RefreshCommand: RefreshCommand;
  PingCommand: PingCommand;
  QrOpenCommand: QrOpenCommand;
  QrWatchCommand: QrWatchCommand;
  QrAnswerCommand: QrAnswerCommand;
  QrCancelCommand: QrCancelCommand;
  QrRedeemCommand: QrRedeemCommand;
  JoinCommand: JoinCommand;
  LeaveCommand: LeaveCommand;
  SendCommand: SendCommand;
  LikeCommand: LikeCommand;
  MembersCommand: MembersCommand;
  HistoryCommand: HistoryCommand;
  AuthReply: AuthReply;
  RefreshReply: RefreshReply;
  PingReply: PingReply;
  QrOpenReply: QrOpenReply;
  QrWatchReply: QrWatchReply;
  QrAnswerReply: QrAnswerReply;
  QrCancelReply: QrCancelReply;
  QrRedeemReply: QrRedeemReply;
  JoinReply: JoinReply;
  LeaveReply: LeaveReply;
  SendReply: SendReply;
  LikeReply: LikeReply;
  MembersReply: MembersReply;
  HistoryReply: HistoryReply;
  ErrorReply: ErrorReply;
  Hello: Hello;
  CountsPush: CountsPush;
  RoomPush: RoomPush;
  Presence: Presence;
  MePush: MePush;
  Gap: Gap;
  Left: Left;
  Reconnect: Reconnect;
  SessionExpiring: SessionExpiring;
  SessionExpired: SessionExpired;
  SessionRevoked: SessionRevoked;
  SessionNewDevice: SessionNewDevice;
  Command: Command;
  Reply: Reply;
  Push: Push;
  DeviceIn: DeviceIn;
  NewAccount: NewAccount;
  Login: Login;
  RefreshRequest: RefreshRequest;
  QrOpenRequest: QrOpenRequest;
  QrAnswerRequest: QrAnswerRequest;
  QrRedeemRequest: QrRedeemRequest;
  QrConfirmRequest: QrConfirmRequest;
  QrDenyRequest: QrDenyRequest;
  QrScanByCodeRequest: QrScanByCodeRequest;
  DeviceAuthorizationForm: DeviceAuthorizationForm;
  TokenForm: TokenForm;
  RevokeForm: RevokeForm;
  IntrospectForm: IntrospectForm;
  AccountCreated: AccountCreated;
  Tokens: Tokens;
  Identity: Identity;
  Sessions: Sessions;
  Jwks: Jwks;
  QrOpened: QrOpened;
  QrRedeemed: QrRedeemed;
  QrScan: QrScan;
  QrScanByCode: QrScanByCode;
  QrConfirmedState: QrConfirmedState;
  QrDeniedState: QrDeniedState;
  QrOutcome: QrOutcome;
  Problem: Problem;
  Frame: Frame;
}
export interface User {
  id: UserId;
  name?: DisplayName;
  avatar?: Avatar;
}
export interface Member {
  id: UserId;
  role: Role;
  name?: DisplayName;
  avatar?: Avatar;
}
/**
 * A device as others see it.
 */
export interface Device {
  kind: DeviceKind;
  name?: DisplayName;
}
/**
 * Who scanned, as the PC sees it before it is signed in: no id.
 */
export interface Scanner {
  name?: DisplayName;
  avatar?: Avatar;
}
export interface Match {
  mode: MatchMode;
  /**
   * What is typed: the user code of a device authorization. Absent: two digits.
   */
  form?: 'user_code';
  /**
   * Only on the side that shows it.
   */
  code?: Digits | UserCode;
}
/**
 * Absolute values.
 */
export interface Counts {
  /**
   * The highest wins.
   */
  version: number;
  /**
   * Connections in the room.
   */
  viewers: number;
  /**
   * Distinct signed-in users.
   */
  members: number;
  /**
   * A counter nobody raised yet is absent.
   */
  counters: {
    /**
     * Its value.
     */
    [k: string]: number;
  };
}
export interface RoomInfo {
  /**
   * Nobody joins any more.
   */
  closed: boolean;
  /**
   * Least time between two messages of one user, milliseconds
   */
  slow_mode_ms: number;
  /**
   * Base of the `version` of later `room` pushes.
   */
  version: number;
  /**
   * What the room is called.
   */
  title?: string;
  /**
   * Shown at its top.
   */
  announcement?: string;
  /**
   * Of a live broadcast.
   */
  status?: string;
  owner?: UserId;
  /**
   * A picture's address.
   */
  cover?: string;
}
/**
 * This connection's standing in a room.
 */
export interface Me {
  role: Role;
  /**
   * How much longer, milliseconds
   */
  muted_for_ms?: number;
}
export interface Message {
  type: 'message';
  room: RoomName;
  offset: Offset;
  /**
   * When it was sequenced; never falls within a room, Unix milliseconds
   */
  at_ms: number;
  /**
   * Made from the sender's session; `null` for the server API.
   */
  from: Member | null;
  /**
   * Delivered as it was written; never read for identity.
   */
  body: {} | unknown[] | string | number | boolean | null;
  /**
   * The server API spoke.
   */
  source?: 'server';
  /**
   * The sender's own name for it.
   */
  cid?: string;
  /**
   * Absent means `normal`.
   */
  priority?: 'high' | 'low';
}
/**
 * RFC 6749 §5.2.
 */
export interface OAuthError {
  error: OAuthErrorCode;
  /**
   * For a developer; may change.
   */
  error_description?: string;
}
/**
 * RFC 8628 §3.2.
 */
export interface DeviceAuthorization {
  /**
   * 256 random bits in base64url.
   */
  device_code: string;
  user_code: UserCode;
  /**
   * Where its person types the code.
   */
  verification_uri: string;
  /**
   * What a QR code says.
   */
  verification_uri_complete: string;
  /**
   * Life of both codes, seconds
   */
  expires_in: number;
  /**
   * The device asks at most this often, seconds
   */
  interval: number;
  /**
   * A QR login as its code names it: public, another with each rotation. One spelling each.
   */
  qr_id: string;
}
/**
 * RFC 6749 §5.1.
 */
export interface OAuthTokens {
  access_token: AccessToken;
  /**
   * `DPoP` where the session was opened with `dpop_jkt`.
   */
  token_type: 'Bearer' | 'DPoP';
  /**
   * Life of the access token, seconds
   */
  expires_in: number;
  refresh_token: RefreshToken;
  /**
   * What was granted. Separated by spaces.
   */
  scope: string;
  /**
   * With scope `openid`: a JWT (EdDSA, `JWT`) for the client alone.
   */
  id_token?: string;
}
/**
 * RFC 7662 §2.2; `active` alone when it is false.
 */
export interface Introspection {
  /**
   * Whether the token works, and is one of this client's.
   */
  active: boolean;
  /**
   * Separated by spaces.
   */
  scope?: string;
  /**
   * Whom it was issued to.
   */
  client_id?: string;
  /**
   * Absent for a refresh token.
   */
  token_type?: 'Bearer' | 'DPoP';
  /**
   * Its end, seconds since 1970
   */
  exp?: number;
  /**
   * When it was issued, seconds since 1970
   */
  iat?: number;
  sub?: UserId;
  /**
   * Whom it is for.
   */
  aud?: string;
  /**
   * Whom it is from.
   */
  iss?: string;
  /**
   * Names it.
   */
  jti?: string;
}
/**
 * OpenID Connect Core §5.3; `name` and `picture` with scope `profile`.
 */
export interface UserInfo {
  sub: UserId;
  name?: DisplayName;
  picture?: Avatar;
}
/**
 * RFC 8414 §2, and OpenID Connect Discovery §3.
 */
export interface AuthorizationServer {
  /**
   * Claim `iss` of its tokens.
   */
  issuer: string;
  /**
   * RFC 8628.
   */
  device_authorization_endpoint: string;
  /**
   * RFC 6749.
   */
  token_endpoint: string;
  /**
   * RFC 7009.
   */
  revocation_endpoint: string;
  /**
   * RFC 7662.
   */
  introspection_endpoint: string;
  /**
   * OpenID Connect.
   */
  userinfo_endpoint: string;
  /**
   * The public keys.
   */
  jwks_uri: string;
  /**
   * None: there is no authorization endpoint.
   *
   * @maxItems 0
   */
  response_types_supported: [];
  grant_types_supported: ('urn:ietf:params:oauth:grant-type:device_code' | 'refresh_token')[];
  token_endpoint_auth_methods_supported: string[];
  revocation_endpoint_auth_methods_supported: string[];
  introspection_endpoint_auth_methods_supported: string[];
  scopes_supported: string[];
  subject_types_supported: 'public'[];
  id_token_signing_alg_values_supported: 'EdDSA'[];
  claims_supported: string[];
}
export interface QrWaiting {
  type: 'qr';
  qr_id: QrId;
  seq: Seq;
  state: 'waiting';
  /**
   * What the code says.
   */
  url: string;
  /**
   * Until the next code, milliseconds
   */
  rotate_in_ms: number;
  /**
   * Until this state ends, milliseconds
   */
  expires_in_ms: number;
}
export interface QrScanned {
  type: 'qr';
  qr_id: QrId;
  seq: Seq;
  state: 'scanned';
  user: Scanner;
  match: Match;
  /**
   * Until this state ends, milliseconds
   */
  expires_in_ms: number;
  /**
   * The PC's digits were right.
   */
  matched?: true;
}
export interface QrConfirmed {
  type: 'qr';
  qr_id: QrId;
  seq: Seq;
  state: 'confirmed';
  /**
   * Until this state ends, milliseconds
   */
  expires_in_ms: number;
  /**
   * 256 random bits in base64url.
   */
  ticket?: string;
}
export interface QrDone {
  type: 'qr';
  qr_id: QrId;
  seq: Seq;
  state: 'redeemed';
}
export interface QrEnded {
  type: 'qr';
  qr_id: QrId;
  seq: Seq;
  state: 'denied' | 'cancelled' | 'expired';
  reason: QrReason;
}
/**
 * Signs this connection in.
 */
export interface AuthCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'auth';
  token: AccessToken;
  device?: DeviceId | null;
  dpop?: string | null;
}
/**
 * A new token of the same user and session.
 */
export interface RefreshCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'refresh';
  token: AccessToken;
  dpop?: string | null;
}
/**
 * Liveness for page scripts, which cannot see WebSocket pings.
 */
export interface PingCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ping';
}
/**
 * Opens a QR login and watches it.
 */
export interface QrOpenCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'qr.open';
  device: DeviceIn;
  public_key?: {
    kty: 'EC';
    crv: 'P-256';
    /**
     * 32 bytes in base64url.
     */
    x: string;
    /**
     * 32 bytes in base64url.
     */
    y: string;
  } | null;
  dpop_jkt?: string | null;
  client_id?: string | null;
}
/**
 * The device that asks.
 */
export interface DeviceIn {
  id: DeviceId;
  name?: string | null;
  kind?: DeviceKind | null;
}
/**
 * Watches a QR login again; its events follow the reply.
 */
export interface QrWatchCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'qr.watch';
  qr_id: QrId;
  claim: Secret;
  device: DeviceId;
  after_seq?: Seq | null;
}
/**
 * The digits that the phone shows, where the PC types.
 */
export interface QrAnswerCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'qr.answer';
  qr_id: QrId;
  claim: Secret;
  /**
   * What was typed.
   */
  code: string;
}
/**
 * Ends a QR login from the PC.
 */
export interface QrCancelCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'qr.cancel';
  qr_id: QrId;
  claim: Secret;
}
/**
 * Exchanges the ticket for this device's own tokens.
 */
export interface QrRedeemCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'qr.redeem';
  qr_id: QrId;
  claim: Secret;
  ticket: Secret;
}
/**
 * Subscribes to a room.
 */
export interface JoinCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'join';
  room: Room;
  after?: {
    epoch: Epoch;
    offset: Offset;
  } | null;
}
/**
 * Unsubscribes.
 */
export interface LeaveCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'leave';
  room: Room;
}
/**
 * Says something.
 */
export interface SendCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'send';
  room: Room;
  /**
   * At most 16,384 bytes of JSON.
   */
  body: {} | unknown[] | string | number | boolean | null;
  cid?: string | null;
  priority?: Priority | null;
}
/**
 * Raises a counter.
 */
export interface LikeCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'like';
  room: Room;
  /**
   * At most `limits.like_max` of `hello`.
   */
  n: number;
  counter?: string | null;
}
/**
 * Who is there.
 */
export interface MembersCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'members';
  room: Room;
  limit?: number | null;
  cursor?: string | null;
}
/**
 * Pages through what was said; `before` or `after`, not both.
 */
export interface HistoryCommand {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'history';
  room: Room;
  before?: Offset | null;
  after?: Offset | null;
  limit?: number | null;
}
/**
 * The answer to `auth`.
 */
export interface AuthReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  user: User;
  session: SessionId;
  /**
   * Life of the token, milliseconds
   */
  expires_in_ms: number;
}
/**
 * The answer to `refresh`.
 */
export interface RefreshReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  user: User;
  session: SessionId;
  /**
   * Life of the token, milliseconds
   */
  expires_in_ms: number;
}
/**
 * The answer to `ping`.
 */
export interface PingReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
}
/**
 * The answer to `qr.open`.
 */
export interface QrOpenReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  qr_id: QrId;
  claim: Secret;
  /**
   * What the code says.
   */
  url: string;
  /**
   * Until it ends unscanned, milliseconds
   */
  expires_in_ms: number;
  /**
   * Until the next code, milliseconds
   */
  rotate_in_ms: number;
  seq: Seq;
  state: 'waiting';
}
/**
 * The answer to `qr.watch`.
 */
export interface QrWatchReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  state: QrState;
  /**
   * 0 in a final state; until this state ends, milliseconds
   */
  expires_in_ms: number;
}
/**
 * The answer to `qr.answer`.
 */
export interface QrAnswerReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
}
/**
 * The answer to `qr.cancel`.
 */
export interface QrCancelReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
}
/**
 * The answer to `join`.
 */
export interface JoinReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  room: RoomName;
  epoch: Epoch;
  offset: Offset;
  /**
   * Oldest first.
   *
   * @maxItems 100
   */
  messages: Message[];
  counts: Counts;
  info: RoomInfo;
  me: Me;
  /**
   * With `after`: whether `messages` is everything that was missed.
   */
  recovered?: boolean;
}
/**
 * The answer to `leave`.
 */
export interface LeaveReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
}
/**
 * The answer to `like`.
 */
export interface LikeReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  /**
   * The counter after this like.
   */
  value: number;
}
/**
 * The answer to `members`.
 */
export interface MembersReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  /**
   * @maxItems 100
   */
  members: Member[];
  /**
   * All of them.
   */
  total: number;
  /**
   * Gives the next page; absent at the end.
   */
  cursor?: string;
}
/**
 * The answer to `history`.
 */
export interface HistoryReply {
  /**
   * Chosen by the client, at most 2⁶⁴−1; the reply carries it back.
   */
  id: number;
  type: 'ok';
  epoch: Epoch;
  /**
   * Oldest first.
   *
   * @maxItems 100
   */
  messages: Message[];
}
/**
 * The answer to a command that was refused.
 */
export interface ErrorReply {
  /**
   * `null` when the command's own could not be read.
   */
  id: number | null;
  type: 'error';
  code: ErrorCode;
  /**
   * For a developer; may change.
   */
  message: string;
  /**
   * Whether the same command can succeed later.
   */
  retry: boolean;
  /**
   * When the same can succeed, milliseconds
   */
  after_ms?: number;
  /**
   * With `already_final`, or the `match_failed` that ended it.
   */
  state?: 'waiting' | 'scanned' | 'confirmed' | 'redeemed' | 'denied' | 'cancelled' | 'expired';
  reason?: QrReason;
  /**
   * With `match_failed`.
   */
  tries_left?: number;
}
/**
 * The first frame of every connection.
 */
export interface Hello {
  type: 'hello';
  protocol: 1;
  /**
   * Names this connection in logs.
   */
  connection: string;
  /**
   * Between two pings of the gateway, milliseconds
   */
  ping_interval_ms: number;
  limits: {
    /**
     * Largest message a client may send, bytes.
     */
    frame_bytes_max: number;
    /**
     * Largest `body` of `send`, bytes.
     */
    body_bytes_max: number;
    /**
     * Rooms of this connection.
     */
    subscriptions_max: number;
    /**
     * Largest `n` of one `like`.
     */
    like_max: number;
  };
}
/**
 * Counts of a room changed.
 */
export interface CountsPush {
  type: 'counts';
  room: RoomName;
  /**
   * The highest wins.
   */
  version: number;
  /**
   * Connections in the room.
   */
  viewers: number;
  /**
   * Distinct signed-in users.
   */
  members: number;
  /**
   * A counter nobody raised yet is absent.
   */
  counters: {
    /**
     * Its value.
     */
    [k: string]: number;
  };
}
/**
 * A room's info changed.
 */
export interface RoomPush {
  type: 'room';
  room: RoomName;
  /**
   * The highest wins.
   */
  version: number;
  info: RoomInfo;
}
/**
 * Who came and went.
 */
export interface Presence {
  type: 'presence';
  room: RoomName;
  joined: Member[];
  left: UserId[];
  /**
   * Ask for `members`.
   */
  reset?: true;
}
/**
 * This connection's standing changed.
 */
export interface MePush {
  type: 'me';
  room: RoomName;
  role: Role;
  /**
   * How much longer, milliseconds
   */
  muted_for_ms?: number;
}
/**
 * Messages `from` to `to`, both included, were dropped for this connection.
 */
export interface Gap {
  type: 'gap';
  room: RoomName;
  from: Offset;
  to: Offset;
}
/**
 * This connection is no longer in the room.
 */
export interface Left {
  type: 'left';
  room: RoomName;
  reason: 'kicked' | 'banned' | 'closed' | 'not_allowed';
}
/**
 * The node is about to end.
 */
export interface Reconnect {
  type: 'reconnect';
  /**
   * Reconnect then, milliseconds
   */
  after_ms: number;
}
/**
 * Send a new token with `refresh`.
 */
export interface SessionExpiring {
  type: 'session';
  state: 'expiring';
  /**
   * Until the token expires, milliseconds
   */
  after_ms: number;
}
/**
 * Close 4005 follows.
 */
export interface SessionExpired {
  type: 'session';
  state: 'expired';
}
/**
 * The session was ended; close 4503 follows.
 */
export interface SessionRevoked {
  type: 'session';
  state: 'revoked';
  session: SessionId;
}
/**
 * The same user signed in elsewhere.
 */
export interface SessionNewDevice {
  type: 'session';
  state: 'new_device';
  session: SessionId;
  device: Device;
  /**
   * Where it signed in from.
   */
  ip: string;
  client?: ClientName;
}
export interface NewAccount {
  user_id: UserId;
  /**
   * 8 to 128 bytes.
   */
  password: string;
  name?: string | null;
  avatar?: Avatar | null;
}
export interface Login {
  /**
   * One that is no user id is no account's.
   */
  user_id: string;
  /**
   * As registered.
   */
  password: string;
  device: DeviceIn;
}
export interface RefreshRequest {
  refresh_token: RefreshToken;
}
export interface QrOpenRequest {
  device: DeviceIn;
  public_key?: {
    kty: 'EC';
    crv: 'P-256';
    /**
     * 32 bytes in base64url.
     */
    x: string;
    /**
     * 32 bytes in base64url.
     */
    y: string;
  } | null;
  dpop_jkt?: string | null;
  client_id?: string | null;
}
export interface QrAnswerRequest {
  /**
   * The digits that the phone shows.
   */
  code: string;
}
export interface QrRedeemRequest {
  ticket: Secret;
}
export interface QrConfirmRequest {
  scan_token: Secret;
  code?: string | null;
  password?: string | null;
}
export interface QrDenyRequest {
  scan_token: Secret;
}
export interface QrScanByCodeRequest {
  /**
   * As it was typed: case, spaces and hyphens do not matter.
   */
  user_code: string;
}
/**
 * RFC 8628 §3.1. The header `Countersign-Device` binds the tokens to a device: they are then as good as those of the user's own devices.
 */
export interface DeviceAuthorizationForm {
  /**
   * As registered. Not needed where the client authenticates by HTTP Basic.
   */
  client_id?: string;
  /**
   * Of a confidential client that does not authenticate by HTTP Basic; never both.
   */
  client_secret?: string;
  /**
   * Separated by spaces. Absent means none.
   */
  scope?: string;
  /**
   * What the phone is shown of the device. Normalised, cut at 64 characters. An addition to the RFC.
   */
  device_name?: string;
  /**
   * Absent means `other`.
   */
  device_kind?: 'pc' | 'web' | 'ios' | 'android' | 'tv' | 'other';
}
/**
 * RFC 7009 §2.1.
 */
export interface RevokeForm {
  /**
   * An access token or a refresh token.
   */
  token: string;
  /**
   * As registered. Not needed where the client authenticates by HTTP Basic.
   */
  client_id?: string;
  /**
   * Of a confidential client that does not authenticate by HTTP Basic; never both.
   */
  client_secret?: string;
  /**
   * `access_token` or `refresh_token`; not needed, and not believed.
   */
  token_type_hint?: string;
}
/**
 * RFC 7662 §2.1.
 */
export interface IntrospectForm {
  /**
   * An access token or a refresh token.
   */
  token: string;
  /**
   * As registered. Not needed where the client authenticates by HTTP Basic.
   */
  client_id?: string;
  /**
   * Of a confidential client that does not authenticate by HTTP Basic; never both.
   */
  client_secret?: string;
  /**
   * `access_token` or `refresh_token`; not needed, and not believed.
   */
  token_type_hint?: string;
}
export interface AccountCreated {
  user: User;
}
export interface Tokens {
  access_token: AccessToken;
  token_type: TokenType;
  /**
   * Life of the access token, milliseconds
   */
  expires_in_ms: number;
  refresh_token: RefreshToken;
  user: User;
  session: SessionId;
}
/**
 * Who calls, as the gateway knows it.
 */
export interface Identity {
  user: User;
  session: SessionId;
  device: Device;
}
export interface Sessions {
  /**
   * Newest first.
   */
  sessions: {
    id: SessionId;
    device: Device;
    /**
     * Sign-in, Unix milliseconds
     */
    created_at_ms: number;
    /**
     * Sign-in or last refresh, Unix milliseconds
     */
    last_seen_at_ms: number;
    /**
     * Where it signed in from.
     */
    ip: string;
    /**
     * The session that asks.
     */
    current: boolean;
    client?: ClientName;
  }[];
}
export interface Jwks {
  /**
   * @minItems 1
   */
  keys: [
    {
      kty: 'OKP';
      crv: 'Ed25519';
      /**
       * The key, base64url.
       */
      x: string;
      /**
       * Its name in tokens.
       */
      kid: string;
      alg: 'EdDSA';
      use: 'sig';
    },
    ...{
      kty: 'OKP';
      crv: 'Ed25519';
      /**
       * The key, base64url.
       */
      x: string;
      /**
       * Its name in tokens.
       */
      kid: string;
      alg: 'EdDSA';
      use: 'sig';
    }[]
  ];
}
export interface QrOpened {
  qr_id: QrId;
  claim: Secret;
  /**
   * What the code says.
   */
  url: string;
  /**
   * Until it ends unscanned, milliseconds
   */
  expires_in_ms: number;
  /**
   * Until the next code, milliseconds
   */
  rotate_in_ms: number;
  seq: Seq;
  state: 'waiting';
}
export interface QrScan {
  scan_token: Secret;
  /**
   * Until the scan lapses, milliseconds
   */
  expires_in_ms: number;
  /**
   * Who asks to be signed in.
   */
  request: {
    device: Device;
    /**
     * Where the PC asked from.
     */
    ip: string;
    /**
     * Since the PC asked, milliseconds
     */
    age_ms: number;
    /**
     * Equal public IPv4 address or IPv6 /64; shown, and changes nothing.
     */
    same_network: boolean;
    /**
     * Of the PC.
     */
    user_agent?: string;
    client?: ClientName;
    /**
     * What that client asks for; absent: nothing.
     *
     * @minItems 1
     * @maxItems 100
     */
    scopes?: [string, ...string[]];
    /**
     * The client would get tokens that are as good as those of the user's own devices.
     */
    full_access?: true;
  };
  match: Match;
}
export interface QrScanByCode {
  scan_token: Secret;
  /**
   * Until the scan lapses, milliseconds
   */
  expires_in_ms: number;
  /**
   * Who asks to be signed in.
   */
  request: {
    device: Device;
    /**
     * Where the PC asked from.
     */
    ip: string;
    /**
     * Since the PC asked, milliseconds
     */
    age_ms: number;
    /**
     * Equal public IPv4 address or IPv6 /64; shown, and changes nothing.
     */
    same_network: boolean;
    /**
     * Of the PC.
     */
    user_agent?: string;
    client?: ClientName;
    /**
     * What that client asks for; absent: nothing.
     *
     * @minItems 1
     * @maxItems 100
     */
    scopes?: [string, ...string[]];
    /**
     * The client would get tokens that are as good as those of the user's own devices.
     */
    full_access?: true;
  };
  match: Match;
  /**
   * A QR login as its code names it: public, another with each rotation. One spelling each.
   */
  qr_id: string;
}
export interface QrConfirmedState {
  state: 'confirmed';
}
export interface QrDeniedState {
  state: 'denied';
}
export interface QrOutcome {
  state: QrState;
  reason?: QrReason;
  /**
   * Opaque.
   */
  session?: string;
}
/**
 * RFC 9457, with the code of section 7.1.
 */
export interface Problem {
  type: 'about:blank';
  /**
   * The code in words.
   */
  title: string;
  /**
   * The HTTP status.
   */
  status: number;
  /**
   * For a developer; may change.
   */
  detail: string;
  code: ErrorCode;
  /**
   * When the same can succeed, milliseconds
   */
  after_ms?: number;
  /**
   * With `already_final`, or the `match_failed` that ended it.
   */
  state?: 'waiting' | 'scanned' | 'confirmed' | 'redeemed' | 'denied' | 'cancelled' | 'expired';
  reason?: QrReason;
  /**
   * With `match_failed`.
   */
  tries_left?: number;
  /**
   * With `step_up_required`.
   */
  methods?: 'password'[];
}

/** Commands by their `type`. */
export interface Commands {
  'auth': AuthCommand;
  'refresh': RefreshCommand;
  'ping': PingCommand;
  'qr.open': QrOpenCommand;
  'qr.watch': QrWatchCommand;
  'qr.answer': QrAnswerCommand;
  'qr.cancel': QrCancelCommand;
  'qr.redeem': QrRedeemCommand;
  'join': JoinCommand;
  'leave': LeaveCommand;
  'send': SendCommand;
  'like': LikeCommand;
  'members': MembersCommand;
  'history': HistoryCommand;
}

/** What answers a command, by the command's `type`. */
export interface Replies {
  'auth': AuthReply;
  'refresh': RefreshReply;
  'ping': PingReply;
  'qr.open': QrOpenReply;
  'qr.watch': QrWatchReply;
  'qr.answer': QrAnswerReply;
  'qr.cancel': QrCancelReply;
  'qr.redeem': QrRedeemReply;
  'join': JoinReply;
  'leave': LeaveReply;
  'send': SendReply;
  'like': LikeReply;
  'members': MembersReply;
  'history': HistoryReply;
}
