import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{reference,conformance,certs,cli,tools,bench}/**/*.test.ts"],
    // Files side by side on every core, in workers that keep what they have loaded: a third of the CPU is saved. Whole stacks start in
    // some, so that patience is generous.
    isolate: false,
    maxWorkers: "100%",
    testTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 60_000,
  },
});
