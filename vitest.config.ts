import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{reference,conformance,certs,cli,tools,bench}/**/*.test.ts"],
    // Files side by side on every core; whole stacks start in some of them, so that patience is generous.
    maxWorkers: "100%",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
