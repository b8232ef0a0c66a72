// By what purposes are told apart (ISO/IEC 9646-2): what is under test, and which kind of behaviour.

/**
 * CA capability: it is there. BV valid behaviour: what is allowed works. BI invalid behaviour: what is wrong in itself is refused.
 * BO inopportune behaviour: what is right in itself but out of order is refused.
 */
export const purposeKinds = ["CA", "BV", "BI", "BO"] as const;
export type PurposeKind = (typeof purposeKinds)[number];

/** Who is under test: a server, a user's side (DP, DC), or ALL for what several entities do together. */
export const purposeEntities = ["DSSM", "KSS", "DSS", "DP", "DC", "ALL"] as const;
export type PurposeEntity = (typeof purposeEntities)[number];
