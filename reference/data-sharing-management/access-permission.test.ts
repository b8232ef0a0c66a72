import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { AccessPermissionSchema, RequestedPermissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { type AccessPermissionManagement, createAccessPermissionManagement } from "./access-permission.ts";
import { callAs } from "./component-call.fixture.ts";
import { Cast, CONTRACT_ADDRESS, refused, START } from "./data-sharing-access.fixture.ts";

const permission = create(AccessPermissionSchema, {
  accessTimes: 2,
  expiration: timestampFromMs(START + 60_000),
  readOnly: true,
  keyId: "d".repeat(32),
  keyAddress: `x1410://kss.one/keys/${"d".repeat(32)}`,
  packageId: "e".repeat(32),
  packageAddress: `x1410://dss.one/packages/${"e".repeat(32)}`,
});
const order = {
  accessId: "a".repeat(32),
  contractAddress: CONTRACT_ADDRESS,
  consumerIdentity: "urn:x1410:user:consumer",
  accessNumber: 1,
};

let cast: Cast;
let directory: string;
let level: Level<string, string>;
let time: number;
let management: AccessPermissionManagement;

function open(): void {
  level = new Level(join(directory, "level"));
  management = createAccessPermissionManagement({ store: level, signer: cast.management, now: () => new Date(time) });
}

beforeAll(() => {
  cast = new Cast();
});
afterAll(() => cast.remove());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-permissions-"));
  time = START;
  open();
});
afterEach(async () => {
  await level.close();
  rmSync(directory, { recursive: true, force: true });
});

const client = () => callAs(management.registration, { identity: cast.management.identity });
const store = (policyVersion: bigint, accessPermission = permission) =>
  client().storeAccessPermission({ contractAddress: CONTRACT_ADDRESS, policyVersion, accessPermission });
const opened = (envelope: SignedEnvelope | undefined) =>
  verifyEnvelope(envelope ?? create(SignedEnvelopeSchema), RequestedPermissionSchema, cast.trust);

test("a requested permission says what one access allows, signed by the management for the consumer", async () => {
  await store(1n);
  const { requestedPermission } = await client().createRequestedPermission(order);
  const { message, signer } = opened(requestedPermission);
  expect(signer.identity).toBe(cast.management.identity);
  expect(message.context).toMatchObject({ signer: cast.management.identity, audience: order.consumerIdentity });
  const { $typeName: _, ...terms } = permission;
  expect(message).toMatchObject({
    ...terms,
    accessId: order.accessId,
    contractAddress: CONTRACT_ADDRESS,
    accessNumber: 1,
  });
});

test("a permission is stored once for each version; an older one or another content is refused", async () => {
  await store(2n);
  await store(2n);
  await refused(store(1n), Code.FailedPrecondition, ErrorReason.PERMISSION_VERSION_STALE);
  const other = create(AccessPermissionSchema, { ...permission, accessTimes: 9 });
  await refused(store(2n, other), Code.InvalidArgument, ErrorReason.REQUEST_INVALID);
  await level.close();
  open();
  expect(opened((await client().createRequestedPermission(order)).requestedPermission).message.accessTimes).toBe(2);
  await store(3n, other);
  const later = { ...order, accessId: "b".repeat(32) };
  expect(opened((await client().createRequestedPermission(later)).requestedPermission).message.accessTimes).toBe(9);
});

test("the same order gets the same bytes again: at once, after a restart, after a new version and the end", async () => {
  await store(1n);
  const parallel = await Promise.all(Array.from({ length: 5 }, () => client().createRequestedPermission(order)));
  await level.close();
  open();
  await store(2n, create(AccessPermissionSchema, { ...permission, accessTimes: 9 }));
  time = START + 60_000;
  parallel.push(await client().createRequestedPermission(order));
  const nonces = parallel.map(({ requestedPermission }) =>
    Buffer.from(requestedPermission?.payload ?? []).toString("hex"),
  );
  expect(new Set(nonces).size).toBe(1);
});

test("an access has one permission: another order under its id is refused", async () => {
  await store(1n);
  await client().createRequestedPermission(order);
  const others = [
    { consumerIdentity: "urn:x1410:user:other" },
    { accessNumber: 2 },
    { contractAddress: `x1410://dlt.net/contracts/${"0".repeat(32)}` },
  ];
  for (const other of others) {
    const call = client().createRequestedPermission({ ...order, ...other });
    await refused(call, Code.InvalidArgument, ErrorReason.REQUEST_INVALID);
  }
});

test("none is given without a permission, after its end or beyond its access times", async () => {
  const call = (changes: object = {}) => client().createRequestedPermission({ ...order, ...changes });
  await refused(call(), Code.NotFound, ErrorReason.PERMISSION_NOT_FOUND);
  await store(1n);
  await refused(call({ accessNumber: 3 }), Code.FailedPrecondition, ErrorReason.ACCESS_TIMES_EXHAUSTED);
  time = START + 60_000;
  await refused(call(), Code.FailedPrecondition, ErrorReason.CONTRACT_EXPIRED);
  time = START + 59_999;
  await expect(call({ accessNumber: 2 })).resolves.toBeDefined();
});
