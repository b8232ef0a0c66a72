import { afterEach, describe, expect, test } from "vitest";
import { type RunningServer, startServer } from "../../reference/communications/server.ts";
import { execute } from "../execution.ts";
import { authority, authorityForTests, stageAt } from "../stage.fixture.ts";
import { communicationsPurposes } from "./handshakes.ts";

authorityForTests();

let server: RunningServer | undefined;
afterEach(() => server?.close(0));

/** The verdict of a purpose on a key storage server that speaks from this version on. */
async function verdictOn(id: string, minVersion: "TLSv1.2" | "TLSv1.3") {
  const { privateKeyPem, certificateChainPem } = authority.party("kss");
  server = await startServer({
    name: "kss",
    credentials: {
      privateKey: privateKeyPem,
      certificateChain: certificateChainPem,
      authorities: [authority.trustAnchorPem, authority.intermediatePem],
      minVersion,
    },
    registrations: [],
  });
  const stage = stageAt(server.address);
  const chosen = communicationsPurposes.filter((one) => one.id === id);
  const results = await execute(chosen, stage, { parallel: 1, budgetMs: 20_000 });
  await stage.close();
  return results.map(({ verdict, expected }) => [verdict, expected]);
}

describe("a server that speaks TLS 1.2", () => {
  test("passes where it claims that", async () => {
    expect(await verdictOn("TP/KSS/AAC/BV-02", "TLSv1.2")).toMatchObject([["PASS", expect.anything()]]);
  });

  test("fails where it claims not to", async () => {
    const why = "a refusal in the handshake: an alert, or a close before any answer";
    expect(await verdictOn("TP/KSS/AAC/BI-08", "TLSv1.2")).toEqual([["FAIL", why]]);
  });
});

test("a server that claims TLS 1.2 and does not speak it fails", async () => {
  expect(await verdictOn("TP/KSS/AAC/BV-02", "TLSv1.3")).toEqual([["FAIL", "a connection by TLS 1.2"]]);
});
