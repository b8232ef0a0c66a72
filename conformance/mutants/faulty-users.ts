// Faults that provider and consumer can have alike: whom they believe (clauses 6.2.2 and 7.2.5).
import type { ClientRole } from "../target.ts";
import type { ClientMutant } from "./client-mutant.ts";

/** The mutants of one role that lie in what both share. */
export function faultyUsers(role: ClientRole): readonly ClientMutant[] {
  const entity = role === "dc" ? "DC" : "DP";
  return [
    {
      id: `${role}-compares-no-server-identity`,
      clause: "7.2.5",
      breaks: `the ${role} takes any certificate of the network's authority for that of the server meant (AAC2)`,
      role,
      foundBy: [`TP/${entity}/AAC/BI-01`, `TP/${entity}/AAC/BI-06`, `TP/${entity}/AAC/BI-08`],
      edits: [
        {
          file: "reference/communications/server-identity.ts",
          find: "if (identity !== undefined && isMeant(identity)) return undefined;",
          instead: "if (identity !== undefined && isMeant !== undefined) return undefined;",
        },
      ],
    },
    {
      id: `${role}-verifies-no-server`,
      clause: "7.2.5",
      breaks: `the ${role} takes any certificate whatsoever (AAC2)`,
      role,
      foundBy: [`TP/${entity}/AAC/BI-02`, `TP/${entity}/AAC/BI-03`, `TP/${entity}/AAC/BI-05`],
      edits: [
        {
          file: "reference/communications/tls-channel-credentials.ts",
          find: "checkServerIdentity: serverIdentityCheck(serverIdentity),",
          instead: "checkServerIdentity: () => undefined, rejectUnauthorized: serverIdentity === undefined,",
        },
      ],
    },
    {
      id: `${role}-ignores-revocation`,
      clause: "7.2.5",
      breaks: `the ${role} never looks into its revocation lists when it connects (AAC2)`,
      role,
      foundBy: [`TP/${entity}/AAC/BI-04`, `TP/${entity}/AAC/BI-07`],
      edits: [
        {
          file: "reference/communications/tls-credentials.ts",
          find: "...(revocationLists.length === 0 ?",
          instead: "...(revocationLists !== undefined ?",
        },
      ],
    },
    ...(["kss", "dss"] as const).map(
      (server): ClientMutant => ({
        id: `${role}-verifies-no-${server}`,
        clause: "7.2.5",
        breaks: `the ${role} takes any certificate whatsoever for that of a ${server}, and verifies the other servers (AAC2)`,
        role,
        foundBy:
          server === "kss"
            ? [`TP/${entity}/AAC/BI-09`, `TP/${entity}/AAC/BI-10`, `TP/${entity}/AAC/BI-11`]
            : [`TP/${entity}/AAC/BI-12`, `TP/${entity}/AAC/BI-13`, `TP/${entity}/AAC/BI-15`],
        edits: [
          {
            file: "reference/communications/tls-channel-credentials.ts",
            find: "checkServerIdentity: serverIdentityCheck(serverIdentity),",
            instead: `...(String(serverIdentity).includes(":${server}:") ? { checkServerIdentity: () => undefined, rejectUnauthorized: false } : { checkServerIdentity: serverIdentityCheck(serverIdentity) }),`,
          },
        ],
      }),
    ),
    {
      id: `${role}-ignores-revocation-of-the-dss`,
      clause: "7.2.5",
      breaks: `the ${role} looks into its revocation lists for every server but the data storage server (AAC2)`,
      role,
      foundBy: [`TP/${entity}/AAC/BI-14`],
      edits: [
        {
          file: "reference/communications/tls-channel-credentials.ts",
          find: "secureContextOptions(credentials)",
          instead: `secureContextOptions(String(serverIdentity).includes(":dss:") ? { ...credentials, revocationLists: [] } as typeof credentials : credentials)`,
        },
      ],
    },
    {
      id: `${role}-does-not-authenticate-the-management`,
      clause: "6.2.2",
      breaks: `the ${role} uses a session without a look at the management's statement`,
      role,
      foundBy: [`TP/${entity}/AAU/BI-02`, `TP/${entity}/AAU/BI-03`, `TP/${entity}/AAU/BI-04`],
      edits: [
        {
          file: "reference/user/user.ts",
          find: 'if (!holds) throw refusal(ErrorReason.RESPONSE_INVALID, "statement of the management");',
          instead: "void holds;",
        },
      ],
    },
    {
      id: `${role}-takes-a-replayed-statement`,
      clause: "6.2.2",
      breaks: `the ${role} does not compare the nonce in the management's statement with its own`,
      role,
      foundBy: [`TP/${entity}/AAU/BI-03`],
      edits: [
        {
          file: "reference/user/user.ts",
          find: "equal(message.userNonce, proven.userNonce) &&",
          instead: "",
        },
      ],
    },
    {
      id: `${role}-repeats-its-statement`,
      clause: "6.2.2",
      breaks: `the ${role} authenticates itself with the same nonce each time`,
      role,
      foundBy: [`TP/${entity}/AAU/BV-01`],
      edits: [
        {
          file: "reference/user/user.ts",
          find: "userNonce: randomBytes(32),",
          instead: "userNonce: new Uint8Array(32).fill(randomBytes(1).length),",
        },
      ],
    },
    {
      id: `${role}-computes-no-path`,
      clause: "6",
      breaks: `the ${role} believes a proof without computing the path from transaction to root (S4)`,
      role,
      foundBy: [role === "dc" ? "TP/DC/DC/BI-21" : "TP/DP/DP/BI-03"],
      edits: [
        {
          file: "reference/user/evidence.ts",
          find: "if (!verifyInclusion(proof.transaction, proof.index, transactionCount, proof.path, transactionsRoot))",
          instead: "if (verifyInclusion.length < 0 && [transactionCount, transactionsRoot].length < 0)",
        },
      ],
    },
  ];
}
