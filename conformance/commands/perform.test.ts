import { expect, test } from "vitest";
import { entityRoles } from "../target.ts";
import { commandFor } from "./perform.ts";
import { defaultMib, type RunOptions } from "./run-options.ts";

const options: RunOptions = {
  reference: [...entityRoles],
  client: "grpc",
  pics: [],
  parallel: 4,
  budget: 1_800,
  seed: "1410",
  mib: defaultMib,
};
const beginning = "npx x1410 conformance run --id TP/KSS/KSM/BV-01";

test.each<[string, Partial<RunOptions>, string]>([
  ["the reference as a whole", {}, ""],
  ["one entity of it, with larger records", { reference: ["kss"], mib: 9 }, " --reference kss --mib 9"],
  ["a target that runs", { target: "t.yaml", pics: ["a b.yaml"] }, " --target t.yaml --pics 'a b.yaml'"],
  ["a target that the kit starts", { target: "t.yaml", command: "./kss -v" }, " --target t.yaml --command './kss -v'"],
  ["a client", { for: "dc", command: "get {contract}" }, " --for dc --command 'get {contract}'"],
])("the command that shows a failure again names all that it was seen with: %s", (_, given, words) => {
  const command = commandFor("TP/KSS/KSM/BV-01", { ...options, ...given });
  expect(command).toBe(`${beginning}${words} --client grpc --seed 1410`);
});
