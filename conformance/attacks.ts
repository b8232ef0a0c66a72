// The attacks that the kit knows, each with the purposes that try it, or with the reason why nobody outside an implementation can. Where a
// purpose tries one, the same request with nothing wrong comes first.

export interface Attack {
  /** e.g. "handshake.expired"; the part before the point is the family. */
  readonly id: string;
  readonly what: string;
  /** Patterns over ids of purposes, `*` for any run of characters; empty where there is a reason. */
  readonly shownBy: readonly string[];
  /** Why nothing outside can show it; "" where something does. */
  readonly reason: string;
}

type Row = readonly [id: string, what: string, shownBy: string | { readonly not: string }];

const grey = "ledger and certification authority are outside the entities under test (Figure 1, grey)";

// biome-ignore format: a table
const rows: readonly Row[] = [
  ["handshake.no-certificate", "no certificate", "TP/*/AAC/BI-01 TP/*/API/BI-41"],
  ["handshake.expired", "an expired certificate", "TP/*/AAC/BI-02 TP/*/API/BI-41"],
  ["handshake.not-yet-valid", "a certificate not yet valid", "TP/*/AAC/BI-03 TP/*/API/BI-41"],
  ["handshake.server-certificate", "a certificate for servers, shown by a client", "TP/*/AAC/BI-04 TP/*/API/BI-41"],
  ["handshake.leaf-by-leaf", "a certificate that an end entity signed", "TP/*/AAC/BI-05 TP/*/API/BI-41"],
  ["handshake.path-length", "an authority against the path length", "TP/*/AAC/BI-06 TP/*/API/BI-41"],
  ["handshake.rogue-authority", "another authority of the same name", "TP/*/AAC/BI-07 TP/*/API/BI-41"],
  ["handshake.tls-1.2", "TLS 1.2 where it is not claimed", "TP/*/AAC/BI-08"],
  ["handshake.revoked", "a revoked certificate", "TP/*/AAC/BI-09 TP/*/API/BI-42"],
  ["handshake.resumed", "a session resumed after the revocation of its certificate", "TP/*/AAC/BI-09"],
  ["handshake.list-out-of-date", "a revocation list that is missing or out of date", { not: "lists of the harness outlive the campaign: without a current one nobody at all could be let in, the kit included" }],
  ["connection.revoked", "a certificate revoked while its connection is open", "TP/*/AAC/BI-10"],
  ["connection.expired", "a certificate that expires while its connection is open", "TP/*/AAC/BI-14"],
  ["identity.common-name", "the identity in the common name alone", "TP/*/AAC/BI-11"],
  ["identity.two", "two identities in one certificate", "TP/*/AAC/BI-12"],
  ["identity.none", "a URI that is no identity", "TP/*/AAC/BI-13"],
  ["access-list.denied", "a certificate on the deny list, or not on the allow list", { not: "lists are kept by the operator, by no interface; that callers are told apart is shown by each method's own" }],
  ["psk.unknown-or-wrong", "an unknown pre-shared key, or a wrong one, indistinguishable", "TP/*/AAC/BI-21"],
  ["psk.impostor", "a certificate offered to a client by pre-shared key", { not: "a choice of the client's TLS alone, before anything is sent; the kit's clients by pre-shared key are its own" }],
  ["psk.token", "a token redeemed through the port for pre-shared keys", "TP/KSS/AAC/BI-22"],
  ["caller.wrong-role", "a method called by whom it is not for", "TP/DSSM/UAM/BI-01 TP/DSSM/UAM/BI-1* TP/DSSM/AAU/BI-11 TP/KSS/KSM/BI-1* TP/DSS/DSM/BI-1* TP/*/API/BI-43"],
  ["caller.wrong-right", "a consumer publishes, a provider accesses", "TP/DSSM/DSPM/BI-63 TP/DSSM/DSAM/BI-63"],
  ["caller.between-components", "a user calls what components say to each other", "TP/DSSM/TM/BI-01 TP/DSSM/APM/BI-01 TP/DSSM/APM/BI-02 TP/DSSM/PUB/BI-10 TP/DSSM/SUB/BI-05"],
  ["caller.introspection", "introspection by another than the token's audience", "TP/DSSM/TM/BI-03"],
  ["request.csr", "certification requests with another's name, without proof of possession, for an authority, for a weak key", { not: grey }],
  ["authentication.replayed", "a replayed challenge", "TP/DSSM/AAU/BO-01 TP/DSSM/AAU/BO-02 TP/DSSM/AAU/BO-03"],
  ["authentication.other-key", "an answer that another has signed", "TP/DSSM/AAU/BI-05"],
  ["authentication.other-certificate", "an answer for another certificate", "TP/DSSM/AAU/BI-04"],
  ["authentication.reflected", "the management's own statement", "TP/DSSM/AAU/BI-07"],
  ["session.stolen", "a session from another certificate", "TP/DSSM/AAU/BI-13 TP/DSSM/*/BI-62 TP/DSSM/API/BI-45"],
  ["session.outlived", "a session after the account is gone", "TP/DSSM/AAU/BO-04"],
  ["token.missing", "no token", "TP/KSS/TV/BI-15"],
  ["token.unsigned", "alg none", "TP/KSS/TV/BI-17"],
  ["token.mac", "HS256 under the public key", "TP/KSS/TV/BI-04"],
  ["token.expired", "an expired token, one not yet valid, one that lives too long", "TP/KSS/TV/BI-01 TP/KSS/TV/BI-02 TP/KSS/TV/BI-31 TP/KSS/TV/BI-10 TP/KSS/TV/BI-21"],
  ["token.audience", "a token for another server, or for several", "TP/KSS/TV/BI-03 TP/KSS/TV/BI-22 TP/KSS/TV/BI-23"],
  ["token.issuer", "an unknown issuer or key id", "TP/KSS/TV/BI-05 TP/KSS/TV/BI-06 TP/KSS/TV/BI-30"],
  ["token.type", "another JWT of the issuer", "TP/KSS/TV/BI-07"],
  ["token.stolen", "another's token, or one bound to nothing", "TP/KSS/TV/BI-08 TP/KSS/TV/BI-09 TP/KSS/TV/BI-28 TP/KSS/TV/BI-29"],
  ["token.replayed", "a token redeemed again, or many times at once", "TP/KSS/TV/BO-01 TP/KSS/TV/BV-06 TP/KSS/TV/BV-07"],
  ["token.other-key", "a token for another key", "TP/KSS/TV/BI-11"],
  ["token.other-management", "a token of a trusted management that the owner did not name", "TP/KSS/TV/BI-12"],
  ["token.revoked", "a token revoked at introspection; introspection away", "TP/KSS/TV/BI-40 TP/KSS/TV/BI-41 TP/DSSM/TM/BO-02"],
  ["signature.stripped", "no signature", "TP/DSSM/DSPM/BI-01 TP/DSSM/DSAM/BI-11"],
  ["signature.altered", "one bit flipped", "TP/DSSM/DSPM/BI-02 TP/DSSM/DSAM/BI-01"],
  ["signature.other-type", "an envelope of another payload type", "TP/DSSM/DSPM/BI-03 TP/DSSM/DSPM/BI-04 TP/DSSM/DSAM/BI-14"],
  ["signature.other-signer", "the signer is not the caller, or not the party named", "TP/DSSM/DSPM/BI-08 TP/DSSM/DSPM/BI-09 TP/DSSM/DSPM/BI-80"],
  ["signature.algorithm", "an algorithm that is not the key's", "TP/DSSM/DSPM/BI-05 TP/DSSM/DSAM/BI-15"],
  ["signature.nonce", "a nonce again under other bytes; the same bytes by another", "TP/DSSM/DSPM/BI-13 TP/DSSM/DSPM/BI-08"],
  ["signature.repeated", "identical bytes by the same identity get the first answer", "TP/DSSM/DSPM/BV-01 TP/DSSM/DSAM/BV-02"],
  ["policy.other-owner", "an update or withdrawal by another", "TP/DSSM/DSPM/BO-02"],
  ["policy.older", "an older version", "TP/DSSM/DSPM/BI-94 TP/DSSM/DSPM/BO-05"],
  ["policy.other-objects", "another provider's key or package", "TP/DSSM/DSPM/BI-91 TP/DSSM/DSPM/BI-92"],
  ["policy.forged-address", "a storage address at a stranger", "TP/DSSM/DSPM/BI-90"],
  ["policy.not-stored", "storage confirmed while key or package is absent", "TP/DSSM/DSPM/BO-01"],
  ["access.not-allowed", "another industry, country or user", "TP/DSSM/DSAM/BI-80 TP/DSSM/DSAM/BI-81 TP/DSSM/DSAM/BI-82"],
  ["access.expired", "access after the expiration", "TP/DSSM/DSAM/BO-03"],
  ["access.exhausted", "access N+1; two at once with one left", "TP/DSSM/DSAM/BO-01 TP/DSSM/DSAM/BV-04"],
  ["access.read-only", "an export of what is read-only", "TP/DC/DC/BI-15"],
  ["storage.substituted", "a package substituted, truncated, altered", "TP/DC/DC/BI-01 TP/DC/DC/BI-02 TP/DC/DC/BI-06"],
  ["storage.other-key", "another key than the commitment's", "TP/DC/DC/BI-08 TP/DC/DC/BI-09"],
  ["storage.strange-ids", "../x, NUL and %2f for an id", "TP/KSS/KSM/BI-07 TP/KSS/KSM/BI-08 TP/KSS/KSM/BI-09 TP/DSS/DSM/BI-06 TP/DSS/DSM/BI-07 TP/DSS/DSM/BI-08 TP/DSS/DD/BI-01"],
  ["storage.guessed-ids", "another owner's id", "TP/KSS/KSM/BI-01 TP/DSS/DSM/BI-23 TP/DSS/DD/BI-05"],
  ["storage.broken-off", "an upload broken off", "TP/DSS/DSM/BV-05 TP/DSS/DSM/BV-07 TP/DSS/DD/BO-02"],
  ["ledger.altered", "blocks altered, removed, rolled back, forked", { not: grey }],
  ["ledger.personal", "personal data, keys or tokens on the ledger", "TP/DSSM/DSPM/BV-13 TP/DSSM/DSAM/BV-12 TP/DSSM/DSAM/BV-13"],
  ["ledger.logs", "personal data, keys or tokens in a log", { not: "logs show at no interface" }],
  ["load.oversize", "messages of a length beyond any limit", "TP/*/API/BI-32"],
  ["load.malformed", "bytes that do not parse", "TP/*/API/BI-33"],
  ["load.unknown-method", "methods that there are not", "TP/*/API/BI-31"],
  ["load.random", "random bodies to every method", "TP/*/API/BI-34"],
  ["load.rapid-reset", "calls reset at once", "TP/*/API/BI-35"],
  ["load.stalled", "stalled handshakes and bodies", "TP/*/API/BI-36"],
  ["load.unread", "a subscriber that never reads", { not: "what it costs is memory, which shows at no interface; that others are served meanwhile is load.stalled" }],
  ["load.subscriptions", "a flood of subscriptions", "TP/DSSM/SUB/BO-02"],
];

export const attacks: readonly Attack[] = rows.map(([id, what, shown]) => ({
  id,
  what,
  shownBy: typeof shown === "string" ? shown.split(" ") : [],
  reason: typeof shown === "string" ? "" : shown.not,
}));
