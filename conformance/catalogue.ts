// The functional entities, capabilities and procedure steps of X.1410, numbered. Protocol comments, test purposes, coverage and reports
// name them by these ids. The sentences are ours; the clause says where the Recommendation has it.
import type { ProcedureId } from "./procedures/procedure.ts";

/**
 * Status in the sense of an ISO/IEC 9646 PICS: mandatory, recommended, optional. X.1410 has no "shall"; what it states declaratively counts
 * as mandatory, and clause 5 defines the other two.
 */
export type Status = "M" | "R" | "O";

export interface Component {
  readonly id: string;
  readonly entity: string;
  readonly name: string;
  readonly clause: string;
}

export interface Capability {
  readonly id: string;
  /** Component ids, or "all" for what every entity or the whole system has. */
  readonly owners: readonly string[];
  readonly clause: string;
  readonly what: string;
  readonly status: Status;
}

export interface Step {
  readonly id: string;
  readonly procedure: ProcedureId;
  readonly clause: string;
  readonly from: string;
  readonly to: string;
  /** From and to as the figures draw them; `↔` where both authenticate each other. */
  readonly arrow: string;
  /** `exchange` crosses between two parties; `security` is the handshake of the connection (AAC); `internal` stays inside one party. */
  readonly kind: "exchange" | "security" | "internal";
  readonly what: string;
  readonly status: Status;
}

// biome-ignore format: a table
export const COMPONENTS: readonly Component[] = (
  [
    ["DP", "data provider", "data provider, with wrapping data with access permission", "6.2.1, 7.2.1"],
    ["DC", "data consumer", "data consumer, with unwrapping data according to the requested permission", "6.2.1, 7.2.2"],
    ["UAM", "DSSM", "user account management", "6.2.2"],
    ["AAU", "DSSM", "authentication and authorization for users", "6.2.2"],
    ["DSPM", "DSSM", "data-sharing policy management", "6.2.2"],
    ["DSAM", "DSSM", "data-sharing access management, with usage record", "6.2.2, 7.2.4"],
    ["PUB", "DSSM", "data-sharing information publication", "6.2.2"],
    ["SUB", "DSSM", "data-sharing information subscription", "6.2.2"],
    ["TM", "DSSM", "token management", "6.2.2"],
    ["APM", "DSSM", "access permission management", "7.2.3"],
    ["DSSM/API", "DSSM", "data-sharing capabilities exposure API", "6.2.2"],
    ["KSM", "KSS", "key storage management", "6.2.3"],
    ["TV", "KSS", "token verification", "6.2.3"],
    ["KSS/API", "KSS", "key management capabilities exposure API", "6.2.3"],
    ["DSM", "DSS", "data storage management", "6.2.4"],
    ["DD", "DSS", "data distribution", "6.2.4"],
    ["DSS/API", "DSS", "data management capabilities exposure API", "6.2.4"],
    ["AAC", "all", "authentication and authorization for communications", "7.2.5"],
    ["DLT", "DLT", "DLT infrastructure, smart contract management, system management", "6.1"],
    ["CA", "CA", "certification authority", "3.1.3, 6.2.1, Annex A"],
  ] as const
).map(([id, entity, name, clause]) => ({ id, entity, name, clause }));

type CapabilityRow = readonly [id: string, what: string, clause?: string];

/** Rows of one owner share its clause and are mandatory. */
function capabilities(owners: string, clause: string, rows: readonly CapabilityRow[]): Capability[] {
  return rows.map(([id, what, own]) => ({ id, owners: owners.split(" "), clause: own ?? clause, what, status: "M" }));
}

// biome-ignore format: a table
export const CAPABILITIES: readonly Capability[] = [
  ...capabilities("DP DC", "6.2.1", [
    ["U1", "obtains certificate and private key from the certification authority"],
    ["U2", "keeps them securely"],
    ["U3", "talks to the data-sharing service management"],
    ["U4", "gets and keeps certificates, network parameters and configuration of the DLT nodes"],
    ["U5", "receives notifications of the management"],
    ["U6", "has a symmetric encryption system"],
  ]),
  ...capabilities("DP", "6.2.1", [
    ["P1", "collects raw data and removes what identifies people without spoiling the data"],
    ["P2", "generates the symmetric key"],
    ["P3", "encrypts the data"],
    ["P4", "stores ciphertext and key securely, locally or remotely"],
    ["P5", "authenticates the management and is authenticated by it"],
    ["P6", "states the data-sharing information: provider, package, key, who is allowed, other attributes"],
    ["P7", "combines it into a data-sharing policy and signs that"],
    ["P8", "sends policy and signature"],
    ["P9", "learns that the smart contract exists"],
    ["P10", "queries and updates its policies"],
  ]),
  ...capabilities("DC", "6.2.1", [
    ["C1", "subscribes to what is published"],
    ["C2", "authenticates the management and is authenticated by it"],
    ["C3", "obtains data-sharing information"],
    ["C4", "sends consumer information and shared-data information, signed"],
    ["C5", "receives shared-data information, addresses of key and ciphertext, and the access token"],
    ["C6", "redeems the token for the key"],
    ["C7", "gets the ciphertext"],
    ["C8", "decrypts it"],
    ["C9", "manages its access records"],
  ]),
  ...capabilities("UAM", "6.2.2", [["UAM1", "creates, updates, queries and deletes accounts"]]),
  ...capabilities("AAU", "6.2.2", [
    ["AAU1", "authenticates users and is authenticated by them"],
    ["AAU2", "authorizes users to share and to access"],
  ]),
  ...capabilities("DSPM", "6.2.2", [
    ["DSPM1", "receives information, policy and signature"],
    ["DSPM2", "creates the DLT transaction"],
    ["DSPM3", "submits it, so that the contract reaches the DLT nodes"],
    ["DSPM4", "notifies provider and publication"],
    ["DSPM5", "lets providers manage the data that they share"],
  ]),
  ...capabilities("DSAM", "6.2.2", [
    ["DSAM1", "receives access requests and checks industry, country and user against the policy"],
    ["DSAM2", "creates the DLT transaction of the access"],
    ["DSAM3", "submits it, so that the access is on record"],
    ["DSAM4", "orders a token"],
    ["DSAM5", "receives the token"],
    ["DSAM6", "sends token, key address and data address to the consumer"],
    ["DSAM7", "lets consumers manage their access records"],
  ]),
  ...capabilities("PUB", "6.2.2", [
    ["PUB1", "hears from policy management"],
    ["PUB2", "publishes"],
    ["PUB3", "tells subscription"],
  ]),
  ...capabilities("SUB", "6.2.2", [
    ["SUB1", "hears from publication"],
    ["SUB2", "sends to the subscribers"],
  ]),
  ...capabilities("TM", "6.2.2", [
    ["TM1", "takes the order for a token"],
    ["TM2", "creates the token"],
    ["TM3", "sends it to access management"],
  ]),
  ...capabilities("DSSM/API", "6.2.2", [["API1", "exposes the management's capabilities to users"]]),
  ...capabilities("KSM", "6.2.3", [
    ["KSM1", "takes requests to store a key"],
    ["KSM2", "authenticates the provider"],
    ["KSM3", "stores the key securely, encrypted or isolated"],
    ["KSM4", "says that it is stored"],
    ["KSM5", "takes the result of token verification"],
    ["KSM6", "sends the key to the consumer"],
  ]),
  ...capabilities("TV", "6.2.3", [
    ["TV1", "takes the token"],
    ["TV2", "verifies it"],
    ["TV3", "gives the result to key storage management"],
  ]),
  ...capabilities("KSS/API", "6.2.3", [["API2", "exposes key management to users"]]),
  ...capabilities("DSM", "6.2.4", [
    ["DSM1", "takes requests to store a ciphertext"],
    ["DSM2", "authenticates the provider"],
    ["DSM3", "stores the ciphertext"],
    ["DSM4", "says that it is stored"],
  ]),
  ...capabilities("DD", "6.2.4", [
    ["DD1", "takes the consumer's request"],
    ["DD2", "authenticates the consumer"],
    ["DD3", "sends the ciphertext"],
  ]),
  ...capabilities("DSS/API", "6.2.4", [["API3", "exposes data management to users"]]),
  ...capabilities("DP", "7.2.1", [
    ["W1", "generates the key"],
    ["W2", "registers with the key storage server for key id and address"],
    ["W3", "registers with the data storage server for package id and address"],
    ["W4", "sets the access permission: times, expiration, read only, ids and addresses"],
    ["W5", "makes the signed metadata of the package"],
    ["W6", "puts encrypted data and metadata together as the package"],
    ["W7", "uploads the key over a secure channel"],
    ["W8", "uploads the package over a secure channel"],
    ["W9", "uploads the access permission over a secure channel"],
  ]),
  ...capabilities("DC", "7.2.2", [
    ["X1", "gets the address of the smart contract"],
    ["X2", "executes it and obtains the requested permission"],
    ["X3", "gets the key"],
    ["X4", "gets the package"],
    ["X5", "validates the package by the signature of its metadata"],
    ["X6", "decrypts"],
    ["X7", "shows the plaintext only as the permission allows"],
    ["X8", "encrypts again when the access ends"],
  ]),
  ...capabilities("APM", "7.2.3", [
    ["APM1", "receives the access permission from policy management"],
    ["APM2", "stores it"],
    ["APM3", "answers policy management"],
    ["APM4", "receives the consumer's request from access management"],
    ["APM5", "generates the requested permission"],
    ["APM6", "sends it to access management"],
  ]),
  ...capabilities("DSAM", "7.2.4", [
    ["UR1", "gets the requested permission from access permission management"],
    ["UR2", "records the usage by it"],
  ]),
  ...capabilities("all", "7.2.5", [
    ["AAC1", "servers authenticate users by certificate (pre-shared key is optional)"],
    ["AAC2", "users authenticate servers by certificate"],
    ["AAC3", "servers authorize users by allow list, deny list or access control list"],
    ["AAC4", "a session key protects the communication that follows"],
  ]),
  ...capabilities("all", "7.1", [
    ["S1", "only data that identifies nobody is on-chain, all else is off-chain", "6"],
    ["S2", "all communication between entities is secure"],
    ["S3", "whoever receives a forwarded package still needs a permission"],
    ["S4", "status of data can be traced, verified and changed", "6"],
    ["S5", "consumers forward nothing but ciphertext"],
  ]),
];

const HANDSHAKE = "mutual authentication, then a session key";
type StepRow = readonly [number: string, from: string, to: string, what: string, status?: Status];

function steps(procedure: ProcedureId, clause: string, rows: readonly StepRow[]): Step[] {
  return rows.map(([number, from, to, what, status]) => ({
    id: `${procedure}.${number}`,
    procedure,
    clause,
    from,
    to,
    arrow: from === to ? from : `${from} ${what === HANDSHAKE || to === "AAU" ? "↔" : "→"} ${to}`,
    kind: what === HANDSHAKE ? "security" : from === to ? "internal" : "exchange",
    what,
    status: status ?? "M",
  }));
}

// biome-ignore format: a table
export const STEPS: readonly Step[] = [
  ...steps("F3", "7.3.1", [
    ["1", "DP", "DP", "collects and desensitizes"],
    ["2.1", "DP", "KSS", HANDSHAKE],
    ["2.2", "DP", "KSS", "registers for a key id and the address to get the key from"],
    ["2.3", "DP", "DSS", HANDSHAKE],
    ["2.4", "DP", "DSS", "registers for a package id and the address to get the package from"],
    ["3.1", "DP", "DP", "creates the data-sharing information"],
    ["3.2", "DP", "DP", "generates the key"],
    ["3.3", "DP", "DP", "sets the access permission"],
    ["3.4", "DP", "DP", "generates the metadata"],
    ["3.5", "DP", "DP", "generates the package"],
    ["4.1", "DP", "DSSM", HANDSHAKE],
    ["4.2", "DP", "AAU", "mutual authentication of the user; the right to publish"],
    ["5", "DP", "DSPM", "information, policy, access permission and signature"],
    ["6", "DSPM", "DSPM", "verifies the signature, creates the DLT transaction"],
    ["7", "DSPM", "DP", "confirms that key and package are stored; where not, 7.1 to 7.4 follow"],
    ["7.1", "DP", "KSS", HANDSHAKE],
    ["7.2", "DP", "KSS", "stores the key"],
    ["7.3", "DP", "DSS", HANDSHAKE],
    ["7.4", "DP", "DSS", "stores the package"],
    ["8", "DSPM", "DLT", "submits signed transactions; a block with the smart contract reaches the DLT nodes"],
    ["9.1", "DSPM", "DP", "contract completed, and the address to execute it"],
    ["9.2", "DSPM", "PUB", "address and data-sharing information"],
    ["9.3", "DSPM", "APM", "address and access permission"],
    ["9.4", "APM", "APM", "stores the access permission"],
    ["10", "PUB", "PUB", "publishes the new information"],
    ["11", "PUB", "SUB", "address and information"],
    ["12", "SUB", "subscribers", "address and information"],
  ]),
  ...steps("F4", "7.3.2", [
    ["1", "DC", "PUB", "finds the information by search, subscription or forwarding, and decides to execute the contract"],
    ["2.1", "DC", "DSSM", HANDSHAKE],
    ["2.2", "DC", "AAU", "mutual authentication of the user; the right to access"],
    ["3", "DC", "DSAM", "identity information and data-sharing information, signed"],
    ["4", "DSAM", "DLT", "verifies, checks the policy, submits the transaction; a block with the access record reaches the DLT nodes"],
    ["5", "DSAM", "TM", "orders a token"],
    ["6", "TM", "TM", "creates the token"],
    ["7", "TM", "DSAM", "the token"],
    ["8", "DSAM", "APM", "orders the requested permission"],
    ["9", "APM", "APM", "creates the requested permission"],
    ["10", "APM", "DSAM", "the requested permission"],
    ["11", "DSAM", "DC", "records the usage; token, requested permission, key and package information, certificates of both servers"],
    ["12.1", "DC", "KSS", HANDSHAKE],
    ["12.2", "DC", "TV", "the token"],
    ["13.1", "TV", "TV", "verifies the token"],
    ["13.2", "TV", "TM", "asks token management", "O"],
    ["14", "TV", "DC", "the result, through key storage management; then the key"],
    ["15.1", "DC", "DSS", HANDSHAKE],
    ["15.2", "DC", "DD", "asks for the package"],
    ["16", "DD", "DD", "authenticates the consumer"],
    ["17", "DD", "DC", "the package"],
    ["18", "DC", "DC", "accesses as the permission allows, encrypts again afterwards"],
  ]),
  ...steps("A1", "Annex A.1", [
    ["1", "DP", "DP", "collects and desensitizes"],
    ["2.1", "DP", "DP", "generates the data encryption key"],
    ["2.2", "DP", "KSS", "registers for a key id and its storage address"],
    ["2.3", "DP", "DSS", "encrypts, registers the ciphertext"],
    ["2.4", "DSS", "DP", "ciphertext id and storage address"],
    ["3", "DP", "DP", "creates the data-sharing information"],
    ["4", "DP", "AAU", "mutual authentication, the certificate being optional; the right to publish"],
    ["5", "DP", "DSPM", "information, policy and its signature"],
    ["6", "DSPM", "DSPM", "verifies the signature, creates the DLT transaction"],
    ["7", "DSPM", "DP", "confirms that key and ciphertext are stored; where not, 7.1 and 7.2 follow"],
    ["7.1", "DP", "KSS", "stores the key"],
    ["7.2", "DP", "DSS", "stores the ciphertext"],
    ["8", "DSPM", "DLT", "submits; a block with the smart contract reaches the DLT nodes"],
    ["9.1", "DSPM", "DP", "contract completed, and its address"],
    ["9.2", "DSPM", "PUB", "address and information"],
    ["10", "PUB", "PUB", "publishes"],
    ["11", "PUB", "SUB", "address and information"],
    ["12", "SUB", "subscribers", "address and information"],
  ]),
  ...steps("A2", "Annex A.2", [
    ["1", "DC", "PUB", "finds the information, decides to execute the contract"],
    ["2", "DC", "AAU", "mutual authentication, the certificate being recommended; the right to access"],
    ["3", "DC", "DSAM", "identity and data-sharing information, signed"],
    ["4", "DSAM", "DLT", "verifies, checks the policy, submits the transaction; a block with the access record reaches the DLT nodes"],
    ["5", "DSAM", "TM", "orders a token"],
    ["6", "TM", "TM", "creates the token"],
    ["7", "TM", "DSAM", "the token"],
    ["8", "DSAM", "DC", "token, key and ciphertext information, certificates of both servers"],
    ["9", "DC", "TV", "the token"],
    ["10.1", "TV", "TV", "verifies the token"],
    ["10.2", "TV", "TM", "asks token management", "O"],
    ["11", "TV", "KSM", "the result"],
    ["12", "KSM", "DC", "the key"],
    ["13", "DC", "DSS", "asks for the ciphertext"],
    ["14", "DD", "DD", "authenticates the consumer"],
    ["15", "DD", "DC", "the ciphertext"],
    ["16", "DC", "DC", "decrypts, accesses in plaintext"],
  ]),
];
