// Desensitization of subscriber records against the cost of only tokenizing them (csv-parse, same bytes, same run):
// interleaved rounds, medians. Usage: node bench/desensitization.ts [MB]
import { parse } from "csv-parse/sync";
import { subscriberRecords, subscriberRules } from "../conformance/procedures/subscriber-records.ts";
import { desensitize } from "../reference/data-provider/desensitization/desensitize.ts";

const ROUNDS = 5;
const megabytes = Number(process.argv[2] ?? 3);
const begun = performance.now();
const records = Buffer.from(subscriberRecords({ seed: "bench", bytes: megabytes * 1e6 }));
const generation = performance.now() - begun;

const contenders: Record<string, () => Promise<void>> = {
  "csv-parse alone": async () => {
    parse(records);
  },
  "desensitize()": async () => {
    const { output } = desensitize(source(), subscriberRules, { format: "csv" });
    for await (const _ of output);
  },
};

const times = new Map(Object.keys(contenders).map((name) => [name, [] as { wall: number; cpu: number }[]]));
for (let round = 0; round < ROUNDS; round++)
  for (const [name, run] of Object.entries(contenders)) {
    const [wall, cpu] = [performance.now(), process.cpuUsage()];
    await run();
    const { user, system } = process.cpuUsage(cpu);
    times.get(name)?.push({ wall: performance.now() - wall, cpu: (user + system) / 1000 });
  }

const [base] = [...times.values()].map((rounds) => median(rounds.map(({ cpu }) => cpu)));
console.log(
  `${megabytes} MB of subscriber records, made in ${generation.toFixed(0)} ms; ${ROUNDS} rounds, Node ${process.version}`,
);
for (const [name, rounds] of times) {
  const cpu = median(rounds.map((round) => round.cpu));
  const first = rounds[0]?.wall.toFixed(0);
  const wall = median(rounds.map((round) => round.wall)).toFixed(0);
  console.log(
    `${name.padEnd(16)} first ${first} ms, median ${wall} ms wall, ${cpu.toFixed(0)} ms CPU, ${(cpu / (base ?? cpu)).toFixed(1)} times csv-parse`,
  );
}

async function* source(): AsyncGenerator<Uint8Array> {
  yield records;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
