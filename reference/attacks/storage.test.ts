// Attacks on stored objects: packages that the data storage server exchanges, ids that are paths, objects of others, broken uploads
// (KSS, DSS, clauses 6.2.3, 6.2.4, 7.2.2). The consumer is the reference's own, on the running stack, with a liar on the way where needed.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import {
  DataDistributionService,
  type GetPackageRequest,
  GetPackageResponseSchema,
} from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingPackageSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataStorageService, type StorePackageRequestSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type RunningServer, startServer } from "../communications/server.ts";
import { implement } from "../communications/service.ts";
import { DataConsumer } from "../data-consumer/consumer.ts";
import { UnwrappingError, type UnwrappingSession } from "../data-consumer/unwrapping.ts";
import { readProfile } from "../user/profile.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { User } from "../user/user.ts";
import { doors, rigForFile, type Scene } from "./attack-rig.fixture.ts";

const rig = rigForFile();
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

/** The reference's consumer with a state directory of its own. */
async function referenceConsumer(): Promise<DataConsumer> {
  const user = await User.connect(await readProfile(rig().stack.users.consumer.profile));
  open.push(user);
  const state = StateDirectory.open(mkdtempSync(join(rig().directory, "consumer-")));
  return new DataConsumer({ user, state, patience: { attempts: 1, firstPauseMs: 1, longestPauseMs: 1 } });
}

async function read(session: UnwrappingSession): Promise<Buffer> {
  const parts: Buffer[] = [];
  try {
    await session.present((bytes) => void parts.push(Buffer.from(bytes)));
  } finally {
    await session.close();
  }
  return Buffer.concat(parts);
}

describe("a data storage server that lies", () => {
  /** A server under the real one's certificate that gives these bytes for every package, and says that they are what was announced. */
  async function liar(announced: Uint8Array, given: Uint8Array): Promise<RunningServer> {
    const server = await startServer({
      name: "liar",
      credentials: rig().tlsCredentials(rig().credentialOf("dss")),
      registrations: [
        implement(DataDistributionService, {
          async *getPackage({ offset }: GetPackageRequest) {
            const description = { size: BigInt(announced.length), sha256: sha256(announced), offset };
            yield create(GetPackageResponseSchema, { part: { case: "description", value: description } });
            const data = new Uint8Array(given.subarray(Number(offset)));
            if (data.length > 0) yield create(GetPackageResponseSchema, { part: { case: "data", value: data } });
          },
        }),
      ],
    });
    open.push({ close: () => server.close(0) });
    return server;
  }

  async function stored(scene: Scene): Promise<Uint8Array> {
    return scene.consumer.getPackage(scene.shared.stored.id, () => {});
  }

  const plaintext = randomBytes(50_000);

  test("that is honest is believed: the twin of what follows", async () => {
    const scene = await rig().scene("gRPC", undefined, plaintext);
    const bytes = await stored(scene);
    const server = await liar(bytes, bytes);
    const consumer = await referenceConsumerAt(server.address);
    expect(await read(await consumer.access(scene.shared.contractAddress))).toEqual(plaintext);
  });

  const lies: [string, (bytes: Uint8Array, other: Uint8Array) => Uint8Array][] = [
    ["another package", (_, other) => other],
    ["a package cut short", (bytes) => bytes.subarray(0, bytes.length - 1)],
    ["a package with something after it", (bytes) => Buffer.concat([bytes, Buffer.from([0])])],
    ["a package with one bit changed", (bytes) => flipped(bytes, bytes.length - 100)],
    ["chunks in another order", (bytes) => reordered(bytes)],
  ];

  test.each(lies)("that gives %s is refused with DATA_LOSS", async (_, lie) => {
    const scene = await rig().scene("gRPC", { accessTimes: 5, readOnly: true }, plaintext);
    const bytes = await stored(scene);
    const other = await stored(await rig().scene("gRPC", { accessTimes: 5, readOnly: true }, randomBytes(50_000)));
    const given = lie(bytes, other);
    for (const announced of [bytes, given]) {
      const server = await liar(announced, given);
      const consumer = await referenceConsumerAt(server.address);
      const failure = await consumer.access(scene.shared.contractAddress).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      // Less than was announced is a broken connection to a client, which asks again before it gives up.
      const broken = announced === bytes && given.length < bytes.length;
      expect((failure as ConnectError).code).toBe(broken ? Code.Unavailable : Code.DataLoss);
    }
  });

  /** A consumer whose network parameters lead to this data storage server. */
  async function referenceConsumerAt(address: string): Promise<DataConsumer> {
    const entity = rig().network.entity(rig().identity("dss"));
    if (entity === undefined) throw new Error("no dss");
    const { endpoint } = entity;
    entity.endpoint = address;
    try {
      return await referenceConsumer();
    } finally {
      entity.endpoint = endpoint;
    }
  }
});

describe("the session that unwraps", () => {
  test("refuses to export what is read-only, and a second opening of one grant", async () => {
    const scene = await rig().scene("gRPC", { accessTimes: 1, readOnly: true });
    const consumer = await referenceConsumer();
    const session = await consumer.access(scene.shared.contractAddress);
    const path = join(rig().directory, "exported");
    await expect(session.export(path)).rejects.toThrow(new UnwrappingError("read_only"));
    await session.close();
    await expectRefusal(() => consumer.access(scene.shared.contractAddress), ErrorReason.ACCESS_TIMES_EXHAUSTED);
  });

  test("shows nothing where the key storage server gives another key", async () => {
    const scene = await rig().scene();
    const bytes = await scene.consumer.getPackage(scene.shared.stored.id, () => {});
    const { encryptedData } = fromBinary(DataSharingPackageSchema, bytes);
    const { key, secret, plaintext } = scene.shared;
    expect(Buffer.from(scene.consumer.decrypt(encryptedData, secret, key.id))).toEqual(Buffer.from(plaintext));
    expect(() => scene.consumer.decrypt(encryptedData, randomBytes(32), key.id)).toThrow();
    expect(() => scene.consumer.decrypt(encryptedData, secret, "f".repeat(32))).toThrow();
    const forgedCommitment = flipped(encryptedData, 30);
    expect(() => scene.consumer.decrypt(forgedCommitment, secret, key.id)).toThrow();
  });
});

describe.each(doors)("through the %s", (door) => {
  test.each(["../x", "..%2f..%2fetc%2fpasswd", `${"a".repeat(31)}\u0000`, "A".repeat(32), "a".repeat(33), "", "%00"])(
    "the id %j is refused before anything is looked up",
    async (id) => {
      const consumer = rig().consumer(door);
      const provider = rig().provider(door);
      const key = provider.client(KeyStorageService, "kss");
      const data = provider.client(DataStorageService, "dss");
      const requestId = randomBytes(16);
      await expectRefusal(() => key.getKeyStatus({ keyId: id }), ErrorReason.REQUEST_INVALID);
      await expectRefusal(() => key.getKey({ keyId: id, requestId, accessToken: "x" }), ErrorReason.REQUEST_INVALID);
      await expectRefusal(() => data.deletePackage({ packageId: id }), ErrorReason.REQUEST_INVALID);
      await expectRefusal(() => first(consumer, id), ErrorReason.REQUEST_INVALID);
    },
  );

  test("another's object is answered as one that is not there", async () => {
    const owner = rig().provider(door);
    const key = await owner.registerKey(() => {});
    const stored = await owner.registerPackage(() => {});
    const thief = rig().provider(door, rig().target.consumer);
    const keys = thief.client(KeyStorageService, "kss");
    const packages = thief.client(DataStorageService, "dss");
    for (const keyId of [key.id, "0".repeat(32)]) {
      await expectRefusal(() => keys.getKeyStatus({ keyId }), ErrorReason.KEY_NOT_FOUND);
      await expectRefusal(() => keys.storeKey({ keyId, key: randomBytes(32) }), ErrorReason.KEY_NOT_FOUND);
      await expectRefusal(() => keys.deleteKey({ keyId }), ErrorReason.KEY_NOT_FOUND);
    }
    for (const packageId of [stored.id, "0".repeat(32)]) {
      await expectRefusal(() => packages.getPackageStatus({ packageId }), ErrorReason.PACKAGE_NOT_FOUND);
      await expectRefusal(() => packages.deletePackage({ packageId }), ErrorReason.PACKAGE_NOT_FOUND);
      await expectRefusal(
        () => packages.storePackage(upload(packageId, randomBytes(10))),
        ErrorReason.PACKAGE_NOT_FOUND,
      );
    }
    await owner.client(KeyStorageService, "kss").getKeyStatus({ keyId: key.id });
    await owner.client(DataStorageService, "dss").getPackageStatus({ packageId: stored.id });
  });

  test("a stored key is not exchanged, nor a package", async () => {
    const { provider, shared } = await rig().scene(door);
    const keys = provider.client(KeyStorageService, "kss");
    const packages = provider.client(DataStorageService, "dss");
    await keys.storeKey({ keyId: shared.key.id, key: shared.secret });
    await expectRefusal(() => keys.storeKey({ keyId: shared.key.id, key: randomBytes(32) }), ErrorReason.KEY_EXISTS);
    await expectRefusal(
      () => packages.storePackage(upload(shared.stored.id, randomBytes(10))),
      ErrorReason.PACKAGE_EXISTS,
    );
  });

  test("an upload that is not what it announced stores nothing", async () => {
    const owner = rig().provider(door);
    const { id } = await owner.registerPackage(() => {});
    const packages = owner.client(DataStorageService, "dss");
    const bytes = randomBytes(3_000);
    const { PACKAGE_DIGEST_MISMATCH, REQUEST_INVALID, OFFSET_OUT_OF_RANGE } = ErrorReason;
    await expectRefusal(
      () => packages.storePackage(upload(id, bytes, { sha256: sha256(randomBytes(1)) })),
      PACKAGE_DIGEST_MISMATCH,
    );
    for (const claimed of [2_999n, 3_001n])
      await expectRefusal(() => packages.storePackage(upload(id, bytes, { size: claimed })), PACKAGE_DIGEST_MISMATCH);
    await expectRefusal(() => packages.storePackage(upload(id, bytes, { offset: 1_000n })), OFFSET_OUT_OF_RANGE);
    await expectRefusal(() => packages.storePackage(upload(id, bytes, { offset: 1n << 63n })), OFFSET_OUT_OF_RANGE);
    await expectRefusal(() => packages.storePackage(withoutOpening(bytes)), REQUEST_INVALID);
    await expectRefusal(() => first(rig().consumer(door), id), ErrorReason.PACKAGE_NOT_STORED);
    await packages.storePackage(upload(id, bytes));
    const status = await packages.getPackageStatus({ packageId: id });
    expect(status.size).toBe(3_000n);
  });
});

test("an upload broken off leaves nothing that anyone can read, and goes on from what is committed", async () => {
  const owner = rig().provider();
  const { id } = await owner.registerPackage(() => {});
  const packages = owner.client(DataStorageService, "dss");
  const bytes = randomBytes(3 << 20);
  const abort = new AbortController();
  const broken = packages.storePackage(
    (async function* () {
      let sent = 0;
      for await (const part of upload(id, bytes)) {
        if (sent++ === 3) abort.abort();
        yield part;
      }
    })(),
    { signal: abort.signal },
  );
  expect(await broken.catch((cause: unknown) => ConnectError.from(cause).code)).toBe(Code.Canceled);
  await expectRefusal(() => first(rig().consumer(), id), ErrorReason.PACKAGE_NOT_STORED);
  const { committedOffset } = await packages.getPackageStatus({ packageId: id });
  await packages.storePackage(upload(id, bytes, { offset: committedOffset }));
  expect((await packages.getPackageStatus({ packageId: id })).sha256).toEqual(new Uint8Array(sha256(bytes)));
});

async function first(consumer: ReturnType<ReturnType<typeof rig>["consumer"]>, packageId: string): Promise<unknown> {
  const stream = consumer.client(DataDistributionService, "dss").getPackage({ packageId });
  for await (const part of stream) return part;
  return undefined;
}

type UploadPart = MessageInitShape<typeof StorePackageRequestSchema>;

async function* upload(
  packageId: string,
  bytes: Uint8Array,
  claimed: { size?: bigint; sha256?: Uint8Array; offset?: bigint } = {},
): AsyncGenerator<UploadPart> {
  const { offset = 0n } = claimed;
  const opening = { packageId, size: BigInt(bytes.length), sha256: sha256(bytes), ...claimed };
  yield { part: { case: "open", value: opening as never } };
  for (let at = Math.min(Number(offset), bytes.length); at < bytes.length; at += 1 << 20)
    yield { part: { case: "data", value: new Uint8Array(bytes.subarray(at, at + (1 << 20))) } };
}

async function* withoutOpening(bytes: Uint8Array): AsyncGenerator<UploadPart> {
  yield { part: { case: "data", value: new Uint8Array(bytes) } };
}

function sha256(bytes: Uint8Array): Buffer<ArrayBuffer> {
  return createHash("sha256").update(bytes).digest() as Buffer<ArrayBuffer>;
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** The first two whole chunks of the encrypted data exchanged, framing and length as they were. */
function reordered(bytes: Uint8Array): Uint8Array {
  const message = fromBinary(DataSharingPackageSchema, bytes);
  const data = Buffer.from(message.encryptedData);
  const [header, chunk] = [56, 16 * 1024 + 16];
  const one = Buffer.from(data.subarray(header, header + chunk));
  data.copyWithin(header, header + chunk, header + 2 * chunk);
  one.copy(data, header + chunk);
  return toBinary(DataSharingPackageSchema, { ...message, encryptedData: data });
}
