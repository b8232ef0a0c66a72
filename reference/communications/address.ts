// Storage and contract addresses (clauses 6.2.1 and 6.2.2): URIs of entity identity and object id. Never host and port: only the
// registry of the network parameters (U4) leads from them to a connection, so nobody can be made to dial a stranger.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "./refusal.ts";

export interface StorageAddress {
  /** Identity of the server that holds the object, urn:x1410:entity:kss:NAME or urn:x1410:entity:dss:NAME. */
  readonly entity: string;
  /** The key or package, 32 lower-case hexadecimal digits. */
  readonly id: string;
}

export interface ContractAddress {
  readonly networkId: string;
  /** 32 lower-case hexadecimal digits. */
  readonly contractId: string;
}

const NAME = "[a-z0-9][a-z0-9.-]{0,62}";
const ID = /^[0-9a-f]{32}$/;
const ENTITY = new RegExp(`^urn:x1410:entity:(kss|dss):(${NAME})$`);
const NETWORK = new RegExp(`^${NAME}$`);
const STORAGE = new RegExp(`^x1410://(?:(kss)\\.(${NAME})/keys|(dss)\\.(${NAME})/packages)/([0-9a-f]{32})$`);
const CONTRACT = new RegExp(`^x1410://dlt\\.(${NAME})/contracts/([0-9a-f]{32})$`);

/** x1410://kss.NAME/keys/ID (KSM2). @throws ConnectError REQUEST_INVALID */
export function keyAddress(kssIdentity: string, keyId: string): string {
  return `x1410://kss.${nameOf("kss", kssIdentity)}/keys/${checkedId(keyId, "key_id")}`;
}

/** x1410://dss.NAME/packages/ID (DSM2). @throws ConnectError REQUEST_INVALID */
export function packageAddress(dssIdentity: string, packageId: string): string {
  return `x1410://dss.${nameOf("dss", dssIdentity)}/packages/${checkedId(packageId, "package_id")}`;
}

/** x1410://dlt.NETWORK/contracts/ID (DSPM2). @throws ConnectError REQUEST_INVALID */
export function contractAddress(networkId: string, contractId: string): string {
  if (!NETWORK.test(networkId)) throw refusal(ErrorReason.REQUEST_INVALID, "network_id");
  return `x1410://dlt.${networkId}/contracts/${checkedId(contractId, "contract_id")}`;
}

/** @throws ConnectError REQUEST_INVALID */
export function parseStorageAddress(address: string): StorageAddress {
  const match = STORAGE.exec(address);
  if (match === null) throw refusal(ErrorReason.REQUEST_INVALID, "storage address");
  const [, kss, kssName, , dssName, id = ""] = match;
  const entity = kss === undefined ? `urn:x1410:entity:dss:${dssName}` : `urn:x1410:entity:kss:${kssName}`;
  return { entity, id };
}

/** @throws ConnectError REQUEST_INVALID */
export function parseContractAddress(address: string): ContractAddress {
  const [, networkId, contractId] = CONTRACT.exec(address) ?? [];
  if (networkId === undefined || contractId === undefined) {
    throw refusal(ErrorReason.REQUEST_INVALID, "contract address");
  }
  return { networkId, contractId };
}

function nameOf(kind: "kss" | "dss", identity: string): string {
  const [, found, name] = ENTITY.exec(identity) ?? [];
  if (found !== kind || name === undefined) throw refusal(ErrorReason.REQUEST_INVALID, `${kind} identity`);
  return name;
}

function checkedId(id: string, field: string): string {
  if (!ID.test(id)) throw refusal(ErrorReason.REQUEST_INVALID, field);
  return id;
}
