// A pairwise selection of subsets of the reference, client stacks and forms: in .ci/run; all combinations are in the campaign.
import { conclude, report } from "./tally.ts";
import { projectEnvironment } from "./toolchain.ts";
import { unitTests } from "./unit-tests.ts";

conclude([
  await report(
    unitTests({
      name: "subsets, client stacks and forms, pairwise",
      environment: { ...projectEnvironment(), X1410_PAIRWISE: "1" },
      timeoutMs: 15 * 60_000,
      files: ["conformance/reference-subsets.test.ts"],
    }),
  ),
]);
