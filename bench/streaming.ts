// Whether a package of any size is wrapped, uploaded, downloaded, validated and presented in constant memory: the peak of the resident set
// for 64 MiB against that for 1 GiB. Each size runs in a process of its own, for a process never forgets its peak.
//   node bench/streaming.ts             compares both sizes; exit code 1 where the larger one takes clearly more
//   node bench/streaming.ts --mib N     one size, one line of JSON
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { Level } from "level";
import { DataDistributionService } from "../gen/x1410/v1/data_distribution_pb.ts";
import { DataStorageService } from "../gen/x1410/v1/data_storage_pb.ts";
import { grpcTransport } from "../reference/communications/grpc-transport.ts";
import { pkiFixture } from "../reference/communications/pki.fixture.ts";
import { startServer } from "../reference/communications/server.ts";
import { downloadPackage } from "../reference/data-consumer/package-download.ts";
import { validatePackage } from "../reference/data-consumer/package-validation.ts";
import { UnwrappingSession } from "../reference/data-consumer/unwrapping.ts";
import { uploadPackage } from "../reference/data-provider/package-upload.ts";
import {
  CHUNK_BYTES,
  encryptToFile,
  packageHead,
  StoredObject,
  signMetadata,
} from "../reference/data-provider/wrapping.ts";
import { createDataStorageServer } from "../reference/data-storage-server/server.ts";
import { createSigner } from "../reference/envelope/signer.ts";

import { defaultPatience } from "../reference/user/repetition.ts";
import { StateDirectory } from "../reference/user/state-directory.ts";

const SMALL_MIB = 64;
const LARGE_MIB = 1024;
/** What the larger one may take more: the garbage of a longer run, far from a sixteenth of the difference. */
const ALLOWED_MIB = 64;

interface Run {
  readonly mib: number;
  readonly seconds: number;
  readonly peakMib: number;
}

const { mib } = parseArgs({ options: { mib: { type: "string" } } }).values;
if (mib === undefined) await compare();
else process.stdout.write(`${JSON.stringify(await measure(Number(mib)))}\n`);

async function compare(): Promise<void> {
  const small = await apart(SMALL_MIB);
  const large = await apart(LARGE_MIB);
  for (const { mib, seconds, peakMib } of [small, large])
    console.log(`${String(mib).padStart(5)} MiB  ${seconds.toFixed(1).padStart(6)} s  peak ${peakMib.toFixed(0)} MiB`);
  const growth = large.peakMib - small.peakMib;
  const constant = growth <= ALLOWED_MIB;
  console.log(`growth ${growth.toFixed(0)} MiB, allowed ${ALLOWED_MIB}: ${constant ? "constant" : "NOT constant"}`);
  process.exitCode = constant ? 0 : 1;
}

async function apart(mib: number): Promise<Run> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    fileURLToPath(import.meta.url),
    "--mib",
    String(mib),
  ]);
  return JSON.parse(stdout);
}

/** Provider, data storage server and consumer in one process, over mutual TLS, on real files. */
async function measure(mib: number): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), "x1410-streaming-"));
  const pki = pkiFixture();
  const management = "urn:x1410:entity:dssm:one";
  const dss = pki.issue("dss", "one");
  const user = pki.issue("user", "one");
  const db = new Level<string, string>(join(folder, "db"));
  const storage = createDataStorageServer({
    db,
    dataDirectory: folder,
    identity: dss.identity,
    registry: { has: () => true },
    now: () => new Date(),
  });
  await storage.start();
  const server = await startServer({ name: "dss", credentials: dss.credentials, registrations: storage.registrations });
  const { credentials } = user;
  const transport = grpcTransport({ address: server.address, credentials, serverIdentity: dss.identity });
  const started = performance.now();
  try {
    const client = createClient(DataStorageService, transport);
    const signer = createSigner({ privateKeyPem: user.privateKeyPem, certificateChainPem: user.chainPem });
    const requestId = randomBytes(16);
    const { packageId } = await client.registerPackage({ requestId, managementIdentity: management });
    const key = randomBytes(32);
    const keyId = "a".repeat(32);
    const source = generated(mib);
    const spool = join(folder, "ciphertext");
    const encryptedData = await encryptToFile(source.bytes, { key, keyId }, spool);
    const head = packageHead(signMetadata(signer, { packageId, keyId, encryptedData }), Number(encryptedData.size));
    const object = await StoredObject.of(head, spool, encryptedData);
    await uploadPackage({ client, packageId, object, patience: defaultPatience });
    const path = join(folder, "package");
    const distribution = createClient(DataDistributionService, transport);
    const { sha256 } = object;
    await downloadPackage({ client: distribution, packageId, path, sha256, patience: defaultPatience });
    if ((await stat(path)).size !== object.size) throw new Error("the package has not come whole");
    const expected = { packageId, keyId, providerIdentity: signer.identity };
    const valid = await validatePackage(path, expected, pki.pki.verifier());
    const session = await UnwrappingSession.open({
      accessId: "b".repeat(32),
      permission: undefined,
      valid,
      key,
      openings: StateDirectory.open(join(folder, "openings")),
      now: () => new Date(),
      report: async () => {},
    });
    const seen = createHash("sha256");
    await session.present((bytes) => void seen.update(bytes));
    await session.close();
    if (seen.digest("hex") !== source.digest()) throw new Error("the plaintext is not that of the provider");
  } finally {
    transport.close();
    await server.close();
    await storage.close();
    await db.close();
    pki.remove();
    await rm(folder, { recursive: true, force: true });
  }
  return { mib, seconds: (performance.now() - started) / 1000, peakMib: process.resourceUsage().maxRSS / 1024 };
}

/** So many MiB that do not compress, made from one random chunk and a counter. */
function generated(mib: number): { readonly bytes: AsyncIterable<Uint8Array>; digest(): string } {
  const hash = createHash("sha256");
  async function* bytes() {
    const chunk = randomBytes(CHUNK_BYTES);
    for (let count = 0; count < mib; count++) {
      chunk.writeUInt32BE(count);
      hash.update(chunk);
      yield chunk;
    }
  }
  return { bytes: bytes(), digest: () => hash.digest("hex") };
}
