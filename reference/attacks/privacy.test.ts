// Canary scan (S1, clause 6): after every procedure and a good many refusals, no name, phone number, card number, e-mail address, key, token,
// session or secret stands in any log line, block or report, and no user's identity on the ledger.
import { createPrivateKey } from "node:crypto";
import { toBinary, toJsonString } from "@bufbuild/protobuf";
import { beforeAll, expect, test } from "vitest";
import { valuesIn } from "../../conformance/canary-scan.ts";
import { canaries, subscriberRecords } from "../../conformance/procedures/subscriber-records.ts";
import { expectRefusal } from "../../conformance/refusal.ts";
import { run } from "../../conformance/run.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type Block, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { grantFor, rigForFile } from "./attack-rig.fixture.ts";

const rig = rigForFile();
const records = subscriberRecords({ seed: "1410", bytes: 200_000 });
/** Names, phone and card numbers, e-mail addresses of the subscribers. */
const personal = canaries(records);
const secrets: string[] = [];
let blocks: Block[];
let reports: string;

function secret(value: Uint8Array | string): void {
  const bytes = Buffer.from(value);
  if (typeof value === "string") secrets.push(value);
  else
    secrets.push(
      bytes.toString("latin1"),
      bytes.toString("hex"),
      bytes.toString("base64"),
      bytes.toString("base64url"),
    );
}

beforeAll(async () => {
  const result = await run(rig().target, { client: "grpc", records });
  expect(result.verdict).toBe("PASS");
  const scene = await rig().scene("gRPC", { accessTimes: 3, readOnly: true }, records);
  const { grant, request } = await grantFor(scene);
  const { key } = scene.shared;
  secret(scene.shared.secret);
  secret(grant.accessToken);
  for (const user of [scene.provider, scene.consumer])
    secret((user.inSession.headers as Record<string, string>)["x1410-session"] ?? "");
  for (const credential of [rig().target.provider, rig().target.consumer, rig().credentialOf("kss")]) {
    const { d = "" } = createPrivateKey(credential.privateKeyPem).export({ format: "jwk" });
    secret(Buffer.from(d, "base64url"));
  }
  await scene.consumer.getKey(grant.accessToken, key.id, () => {});
  // Refusals must not say what they were shown.
  const keys = scene.consumer.client(KeyStorageService, "kss");
  const told: unknown[] = [];
  const refused = [
    () => keys.getKey({ accessToken: grant.accessToken, keyId: key.id, requestId: new Uint8Array(16) }),
    () => keys.getKey({ accessToken: `${grant.accessToken}x`, keyId: key.id, requestId: new Uint8Array(16) }),
    () => keys.storeKey({ keyId: key.id, key: scene.shared.secret }),
    () => rig().provider().submit(request),
  ];
  for (const call of refused)
    told.push(
      await call().then(
        () => "",
        (cause: unknown) => cause,
      ),
    );
  await expectRefusal(() => keys.storeKey({ keyId: key.id, key: scene.shared.secret }), ErrorReason.KEY_NOT_FOUND);
  reports = JSON.stringify([result, told.map(String)], (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  blocks = [];
  for await (const { block } of rig()
    .client(LedgerService, "ledger", rig().target.provider)
    .streamBlocks({ fromHeight: 1n }))
    if (block !== undefined) blocks.push(block);
}, 60_000);

const identities = () => [
  "urn:x1410:user:",
  rig().stack.users.provider.identity,
  rig().stack.users.consumer.identity,
  "reference stack",
];

test("the scan finds what is there", () => {
  expect(leaks(records, personal.slice(0, 100))).not.toEqual([]);
  expect(leaks(Buffer.from(`a ${secrets[0]} b`, "latin1"), secrets)).not.toEqual([]);
  expect(personal.length).toBeGreaterThan(100);
  expect(secrets.length).toBe(19);
  expect(secrets.every((each) => each.length >= 32)).toBe(true);
});

test("no block holds personal data, a secret or a user's identity, in bytes or as JSON", () => {
  expect(blocks.length).toBeGreaterThan(5);
  for (const block of blocks) {
    const forms = [toBinary(BlockSchema, block), Buffer.from(toJsonString(BlockSchema, block))];
    for (const form of forms) expect(leaks(form, [...personal, ...secrets, ...identities()])).toEqual([]);
  }
});

test("no log line of any entity holds personal data, a secret or a user's identity", () => {
  expect(rig().logged.length).toBeGreaterThan(5);
  const lines = Buffer.from(JSON.stringify(rig().logged), "utf8");
  expect(leaks(lines, [...personal, ...secrets, ...identities().slice(0, 3)])).toEqual([]);
});

test("no report and no refusal holds personal data or a secret", () => {
  expect(leaks(Buffer.from(reports), [...personal, ...secrets])).toEqual([]);
});

/** The values as text and as bytes. */
function leaks(data: Uint8Array, values: readonly string[]): string[] {
  const bytes = values.filter((value) => /[\u0080-\u00ff]/.test(value)).map((value) => Buffer.from(value, "latin1"));
  return [...valuesIn(data, values), ...bytes.filter((each) => Buffer.from(data).includes(each)).map(String)];
}
