// What any user may ask of each server: a request that is right but for what it asks for, which is not there.
import { randomBytes } from "node:crypto";
import type { AnyRequest } from "./handshake-verdict.ts";
import { framed } from "./raw-call.ts";
import type { EntityRole } from "./target.ts";

interface Asked {
  /** package.Service/Method */
  readonly path: string;
  readonly method: string;
  readonly message: () => Uint8Array;
  /** The same in JSON. */
  readonly json: () => object;
}

const freshId = () => randomBytes(16).toString("hex");

/** A string in field 1: the requests below have their id there. */
const withId = () => Buffer.concat([Buffer.from([0x0a, 32]), Buffer.from(freshId())]);

export const asked: Readonly<Record<EntityRole, Asked>> = {
  dssm: {
    path: "x1410.v1.UserAuthenticationService/BeginAuthentication",
    method: "UserAuthenticationService/BeginAuthentication",
    message: () => new Uint8Array(),
    json: () => ({}),
  },
  kss: {
    path: "x1410.v1.KeyStorageService/GetKeyStatus",
    method: "KeyStorageService/GetKeyStatus",
    message: withId,
    json: () => ({ keyId: freshId() }),
  },
  dss: {
    path: "x1410.v1.DataStorageService/GetPackageStatus",
    method: "DataStorageService/GetPackageStatus",
    message: withId,
    json: () => ({ packageId: freshId() }),
  },
};

export function anyRequest(role: EntityRole): AnyRequest {
  const { path, message } = asked[role];
  return { path, body: framed(message()), contentType: "application/grpc" };
}

export function anyRequestInJson(role: EntityRole): AnyRequest {
  const { path, json } = asked[role];
  return { path, body: Buffer.from(JSON.stringify(json())), contentType: "application/json" };
}
