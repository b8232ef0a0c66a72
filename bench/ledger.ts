// Whether the ledger stays as fast and as small as its chain grows: append rate, memory and start-up time for each tenth of a run, then the
// audit of the whole chain as a stream.
//
//   npm run bench:ledger [-- --transactions 1000000] [--writers 256] [--out docs/ledger]
//
// Transactions are signed ahead, in portions, and signing is not counted: what is counted is what a node does with them, the check of each
// signature included. A rate by the clock tells what was had, with whatever else the machine did. CPU time is that of all threads, LevelDB's
// compaction included, and of the main thread alone, which limits the rate where a second core is free. Other load makes CPU time longer as
// well, through shared caches; so it is also told in units of one signature check by itself, measured in between. Memory is what the process
// has for itself (RssAnon, Linux); files that LevelDB maps are the system's to drop. With --out, figures and plots are written there.
import { generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create } from "@bufbuild/protobuf";
import { Level } from "level";
import { NetworkParametersSchema, TransactionOutcome } from "../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../reference/communications/direct-binding.ts";
import { pkiFixture } from "../reference/communications/pki.fixture.ts";
import { createSigner } from "../reference/envelope/signer.ts";
import { TemporaryState } from "../reference/ledger/audit-source.ts";
import { ledgerDatabase } from "../reference/ledger/chain-store.ts";
import { createLedgerNode, type LedgerNode } from "../reference/ledger/server.ts";
import { verifyChain } from "../reference/ledger/verify.ts";
import { Workload } from "./ledger-workload.ts";
import { linePlot } from "./line-plot.ts";

const TENTHS = 10;
/** Transactions signed ahead at a time: few enough to weigh nothing in the memory that is measured. */
const PORTION = 2000;
const CHECKS = 100;
const WARM_UP = 3 * PORTION;
const networkId = "bench.net";

const { values: given } = parseArgs({
  options: {
    transactions: { type: "string", default: "20000" },
    writers: { type: "string", default: "256" },
    out: { type: "string" },
  },
});
const total = Number(given.transactions);
const writers = Number(given.writers);
if (!Number.isInteger(total) || total < TENTHS || !Number.isInteger(writers) || writers < 1)
  throw new RangeError("--transactions is a whole number from 10, --writers one from 1");

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const mib = (bytes: number) => bytes / 2 ** 20;

/** One tenth of a run, by the clock and by CPU time. */
interface Tenth {
  readonly transactions: number;
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
  readonly mainMicroseconds: number;
  /** CPU time of one signature check by itself in the same stretch. */
  readonly checkMicroseconds: number;
  readonly heapMib: number;
  readonly ownMib: number;
}

interface Appended extends Tenth {
  readonly openMs: number;
  readonly diskMib: number;
}

const folder = mkdtempSync(join(tmpdir(), "x1410-bench-ledger-"));
const pki = pkiFixture();
const signerOf = (role: "ledger" | "dssm") => {
  const { privateKeyPem, chainPem } = pki.issue(role, "bench");
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
};
const proposer = signerOf("ledger");
const management = signerOf("dssm");
const trust = pki.pki.verifier();
const database = join(folder, "db");
const yardstick = makeYardstick();
const load = loadavg()[0] ?? 0;
function makeYardstick() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const bytes = randomBytes(512);
  return { bytes, publicKey, signature: sign("sha256", bytes, privateKey) };
}

async function openNode(): Promise<{ db: Level<string, string>; node: LedgerNode; openMs: number }> {
  const begun = performance.now();
  const db = new Level<string, string>(database, ledgerDatabase);
  const node = await createLedgerNode({
    db,
    signer: proposer,
    trust,
    networkId,
    proposer: proposer.identity,
    peers: [],
    quorum: 1,
    now: () => new Date(),
    parameters: () => create(NetworkParametersSchema, { networkId, quorum: 1 }),
  });
  await node.start();
  return { db, node, openMs: performance.now() - begun };
}

async function appendAll(): Promise<Appended[]> {
  const work = new Workload(management, networkId, PORTION);
  const tenths: Appended[] = [];
  let { db, node } = await openNode();
  const reopen = async (): Promise<number> => {
    await node.close();
    await db.close();
    const opened = await openNode();
    ({ db, node } = opened);
    return opened.openMs;
  };
  // What runs for the first time is compiled then: no part of the chain's length. Every tenth begins with a node just opened.
  for (let left = WARM_UP; left > 0; left -= PORTION) await append(node, work.portion(PORTION));
  collectGarbage();
  await reopen();
  for (let tenth = 1; tenth <= TENTHS; tenth++) {
    const clock = new Stopwatch();
    const before = Math.floor((total * (tenth - 1)) / TENTHS);
    const upTo = Math.floor((total * tenth) / TENTHS);
    for (let left = upTo - before; left > 0; left -= PORTION) {
      const envelopes = work.portion(Math.min(left, PORTION));
      clock.start();
      await append(node, envelopes);
      clock.stop();
      clock.calibrate();
    }
    const measured = clock.tenth(upTo - before, WARM_UP + upTo);
    const openMs = await reopen();
    tenths.push({ ...measured, openMs, diskMib: mib(sizeOf(database)) });
    progress("appended", measured);
  }
  await node.close();
  await db.close();
  return tenths;
}

/** Many writers, each with one transaction under way. */
async function append({ engine }: LedgerNode, envelopes: readonly Uint8Array[]): Promise<void> {
  const queue = envelopes.values();
  const write = async () => {
    for (const envelope of queue) {
      const [receipt] = await engine.submit([envelope]);
      if (receipt?.outcome !== TransactionOutcome.ACCEPTED) throw new Error(`not accepted: ${receipt?.rejection}`);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
}

async function auditAll(): Promise<Tenth[]> {
  const { db, node } = await openNode();
  const state = await TemporaryState.create();
  const tenths: Tenth[] = [];
  const whole = total + WARM_UP;
  let seen = 0;
  let counted = 0;
  let calibrated = 0;
  let clock = new Stopwatch();
  const client = bindDirect(node.registrations[0], { peer: directPeer("urn:x1410:entity:operator:bench") });
  async function* blocks() {
    for await (const { block } of client.streamBlocks({ fromHeight: 1n })) if (block !== undefined) yield block;
  }
  clock.start();
  const verdict = await verifyChain(blocks(), {
    trust,
    networkId,
    state,
    onBlock: ({ transactionCount }) => {
      seen += transactionCount;
      if (seen >= calibrated + PORTION) {
        clock.stop();
        clock.calibrate();
        calibrated = seen;
        clock.start();
      }
      if (seen < (whole * (tenths.length + 1)) / TENTHS) return;
      clock.stop();
      clock.calibrate();
      const measured = clock.tenth(seen - counted, seen);
      tenths.push(measured);
      progress("verified", measured);
      counted = seen;
      clock = new Stopwatch();
      clock.start();
    },
  });
  await state.remove();
  await node.close();
  await db.close();
  if (!verdict.intact || verdict.transactions !== BigInt(whole)) throw new Error("the chain does not verify");
  return tenths;
}

/** Clock and CPU time of the stretches between start and stop. */
class Stopwatch {
  #clockMs = 0;
  #cpuMicroseconds = 0;
  #mainMicroseconds = 0;
  #checks = 0;
  #checkMicroseconds = 0;
  #begun = 0;
  #cpuBegun = process.cpuUsage();
  #mainBegun = process.threadCpuUsage();

  start(): void {
    this.#begun = performance.now();
    this.#cpuBegun = process.cpuUsage();
    this.#mainBegun = process.threadCpuUsage();
  }

  stop(): void {
    this.#mainMicroseconds += sum(process.threadCpuUsage(this.#mainBegun));
    this.#cpuMicroseconds += sum(process.cpuUsage(this.#cpuBegun));
    this.#clockMs += performance.now() - this.#begun;
  }

  /** Outside of what is counted: how long a signature check takes just now. */
  calibrate(): void {
    const begun = process.threadCpuUsage();
    for (let check = 0; check < CHECKS; check++)
      verify("sha256", yardstick.bytes, yardstick.publicKey, yardstick.signature);
    this.#checkMicroseconds += sum(process.threadCpuUsage(begun));
    this.#checks += CHECKS;
  }

  tenth(count: number, transactions: number): Tenth {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return {
      transactions,
      perSecond: (count / this.#clockMs) * 1000,
      cpuMicroseconds: this.#cpuMicroseconds / count,
      mainMicroseconds: this.#mainMicroseconds / count,
      checkMicroseconds: this.#checkMicroseconds / this.#checks,
      heapMib: mib(heapUsed + external),
      ownMib: ownMemory(),
    };
  }
}

function sum({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

function ownMemory(): number {
  const [, kib] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kib) / 1024;
}

function sizeOf(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}

const cpuInChecks = ({ cpuMicroseconds, checkMicroseconds }: Tenth) => cpuMicroseconds / checkMicroseconds;
const mainInChecks = ({ mainMicroseconds, checkMicroseconds }: Tenth) => mainMicroseconds / checkMicroseconds;

function progress(what: string, { transactions, perSecond, cpuMicroseconds, ownMib }: Tenth): void {
  const figures = `${perSecond.toFixed(0)}/s, ${cpuMicroseconds.toFixed(0)} µs CPU each, ${ownMib.toFixed(0)} MiB`;
  process.stderr.write(`${what} ${transactions}: ${figures}\n`);
}

function report(appended: readonly Appended[], audited: readonly Tenth[]): string[] {
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  const whole = (value: number) => value.toFixed(0);
  const ratio = (tenths: readonly Tenth[], pick: (tenth: Tenth) => number) => {
    const [first, last] = [tenths[0], tenths.at(-1)];
    return first === undefined || last === undefined ? "" : (pick(last) / pick(first)).toFixed(3);
  };
  return [
    `${total} transactions after ${WARM_UP} to warm up, ${writers} writers with one transaction under way each; one node, quorum 1.`,
    `${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.version}; load average ${load.toFixed(1)} at the start.`,
    "",
    "Appending: a tenth of the transactions in each row, and opening the node at that length.",
    "",
    row([
      "chain",
      "per second",
      "CPU µs each",
      "main thread",
      "one check µs",
      "heap MiB",
      "own MiB",
      "open ms",
      "disk MiB",
    ]),
    row(Array(9).fill("--:")),
    ...appended.map((tenth) =>
      row([
        tenth.transactions,
        whole(tenth.perSecond),
        whole(tenth.cpuMicroseconds),
        whole(tenth.mainMicroseconds),
        whole(tenth.checkMicroseconds),
        whole(tenth.heapMib),
        whole(tenth.ownMib),
        whole(tenth.openMs),
        whole(tenth.diskMib),
      ]),
    ),
    "",
    "Auditing the whole chain as a stream, with its state on disk:",
    "",
    row(["up to", "per second", "CPU µs each", "main thread", "one check µs", "heap MiB", "own MiB"]),
    row(Array(7).fill("--:")),
    ...audited.map((tenth) =>
      row([
        tenth.transactions,
        whole(tenth.perSecond),
        whole(tenth.cpuMicroseconds),
        whole(tenth.mainMicroseconds),
        whole(tenth.checkMicroseconds),
        whole(tenth.heapMib),
        whole(tenth.ownMib),
      ]),
    ),
    "",
    "Last tenth against the first:",
    "",
    row(["", "per second", "CPU in checks", "main thread in checks", "heap", "own memory", "open"]),
    row(["---", ...Array(6).fill("--:")]),
    row([
      "appending",
      ratio(appended, ({ perSecond }) => perSecond),
      ratio(appended, cpuInChecks),
      ratio(appended, mainInChecks),
      ratio(appended, ({ heapMib }) => heapMib),
      ratio(appended, ({ ownMib }) => ownMib),
      ((appended.at(-1)?.openMs ?? 0) / (appended[0]?.openMs ?? 1)).toFixed(3),
    ]),
    row([
      "auditing",
      ratio(audited, ({ perSecond }) => perSecond),
      ratio(audited, cpuInChecks),
      ratio(audited, mainInChecks),
      ratio(audited, ({ heapMib }) => heapMib),
      ratio(audited, ({ ownMib }) => ownMib),
      "",
    ]),
  ];
}

function writeResult(out: string, lines: readonly string[], appended: readonly Appended[], audited: readonly Tenth[]) {
  mkdirSync(out, { recursive: true });
  const head = `# Measured: \`npm run bench:ledger -- --transactions ${total}\`, ${new Date().toISOString().slice(0, 10)}`;
  writeFileSync(join(out, "figures.md"), `${[head, "", ...lines].join("\n")}\n`);
  writeFileSync(
    join(out, "figures.json"),
    `${JSON.stringify({ total, writers, load, appended, audited }, undefined, 2)}\n`,
  );
  const plot = (
    file: string,
    title: string,
    y: string,
    series: Record<string, readonly [readonly Tenth[], (tenth: never) => number]>,
  ) =>
    writeFileSync(
      join(out, file),
      linePlot({
        title,
        x: "transactions on the chain",
        y,
        series: Object.entries(series).map(([name, [tenths, pick]]) => ({
          name,
          points: tenths.map((tenth) => [tenth.transactions, pick(tenth as never)] as const),
        })),
      }),
    );
  const perSecond = ({ perSecond }: Tenth) => perSecond;
  plot("append-rate.svg", "Transactions per second", "per second", {
    appending: [appended, perSecond],
    auditing: [audited, perSecond],
  });
  plot("cpu.svg", "CPU time of each transaction", "in checks of one signature", {
    "appending, all threads": [appended, cpuInChecks],
    "appending, main thread": [appended, mainInChecks],
    "auditing, all threads": [audited, cpuInChecks],
  });
  plot("memory.svg", "Memory", "MiB", {
    "of its own, appending": [appended, ({ ownMib }: Tenth) => ownMib],
    "heap, appending": [appended, ({ heapMib }: Tenth) => heapMib],
    "of its own, auditing": [audited, ({ ownMib }: Tenth) => ownMib],
  });
  plot("start-up.svg", "Opening a node", "ms", { open: [appended, ({ openMs }: Appended) => openMs] });
}

try {
  const appended = await appendAll();
  const audited = await auditAll();
  const lines = report(appended, audited);
  console.log(lines.join("\n"));
  if (given.out !== undefined) writeResult(given.out, lines, appended, audited);
} finally {
  pki.remove();
  rmSync(folder, { recursive: true, force: true });
}
