import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { refusal } from "../reference/communications/refusal.ts";
import { type RunningServer, startServer } from "../reference/communications/server.ts";
import { execute, type PurposeResult } from "./execution.ts";
import { expect as expectation, expectFirst, Inconclusive } from "./procedures/procedure.ts";
import { keyStorage } from "./purposes/kss-stored-key.ts";
import { type PurposeSpec, purpose } from "./purposes/purpose.ts";
import { refreshTime } from "./purposes/revocation-refresh.ts";
import type { User } from "./roles/user.ts";
import { authority, authorityForTests, blackHole, NOWHERE, stageAt } from "./stage.fixture.ts";
import type { PartyName } from "./target.ts";
import type { TestCase } from "./test-case.ts";

authorityForTests();

const shape: Omit<PurposeSpec, "run"> = {
  id: "TP/KSS/TV/BI-01",
  title: "a purpose of a test",
  clause: "6.2.3",
  initialState: "any",
  stimulus: "something",
  expected: { reason: ErrorReason.TOKEN_INVALID },
  twin: "something right",
};

async function performed(run: PurposeSpec["run"], spec: Partial<PurposeSpec> = {}, endpoint = NOWHERE) {
  const stage = stageAt(endpoint);
  const options = { parallel: 1, budgetMs: 30_000 };
  const [result] = await execute([purpose({ ...shape, ...spec, run })], stage, options);
  await stage.close();
  return result as PurposeResult;
}

const wrong = () => Promise.reject(refusal(ErrorReason.TOKEN_INVALID));
const right = () => Promise.resolve("fine");

describe("the verdict of a purpose", () => {
  test.each<[string, PurposeSpec["run"], string, RegExp]>([
    [
      "the refusal asked for, after its twin",
      async (t) => {
        await t.positiveTwin("right", right);
        await t.expectRefusal(wrong);
      },
      "PASS",
      /^$/,
    ],
    [
      "a refusal for another reason",
      async (t) => {
        await t.positiveTwin("right", right);
        await t.expectRefusal(() => Promise.reject(refusal(ErrorReason.TOKEN_EXPIRED)));
      },
      "FAIL",
      /^UNAUTHENTICATED TOKEN_EXPIRED$/,
    ],
    [
      "no refusal",
      async (t) => {
        await t.positiveTwin("right", right);
        await t.expectRefusal(right);
      },
      "FAIL",
      /^it was accepted$/,
    ],
    [
      "a twin that does not work",
      async (t) => {
        await t.positiveTwin("right", wrong);
        await t.expectRefusal(wrong);
      },
      "INCONC",
      /positive twin failed \(right\).*TOKEN_INVALID/,
    ],
    ["a refusal without a twin before it", (t) => t.expectRefusal(wrong), "ERROR", /before its positive twin/],
    [
      "a bug of the kit",
      () => Promise.reject(new TypeError("undefined is not a purpose")),
      "ERROR",
      /undefined is not/,
    ],
    ["a refusal that nobody expected", () => wrong(), "FAIL", /TOKEN_INVALID/],
    ["something that was not given", () => Promise.reject(new Inconclusive("no certificate")), "INCONC", /^no cert/],
    ["a certificate that nobody gave", async (t) => void t.as("operator"), "INCONC", /no certificate for operator/],
    [
      "a certificate that only the kit's authority issues",
      async (t) => void t.authority,
      "INCONC",
      /only an authority of the kit's own/,
    ],
    [
      "a revocation without the kit's authority, however often lists are refreshed",
      async (t) => void refreshTime(t),
      "INCONC",
      /only an authority of the kit's own can issue and revoke/,
    ],
    ["a peer that nobody plays", async (t) => void t.management, "INCONC", /no harness/],
  ])("%s", async (_, run, verdict, actual) => {
    expect(await performed(run)).toMatchObject({ verdict, actual: expect.stringMatching(actual) });
  });

  test("a dead network is inconclusive, never a refusal", async () => {
    const result = await performed(async (t) => {
      await t.positiveTwin("right", right);
      await t.expectRefusal(() => keyStorage(t.provider).getKeyStatus({ keyId: "0".repeat(32) }));
    });
    expect(result).toMatchObject({ verdict: "INCONC" });
    expect(result.messages).toMatchObject([
      { to: "kss", method: "KeyStorageService/GetKeyStatus", code: "UNAVAILABLE" },
    ]);
  });

  test("says what was asked and what was seen", async () => {
    const run: PurposeSpec["run"] = async (t) => {
      t.seen("a key");
      expectation(false, "a key of 32 bytes");
    };
    expect(await performed(run)).toMatchObject({
      expected: "a key of 32 bytes",
      actual: "the contrary; seen last before it: a key",
      seen: ["a key"],
    });
  });
});

test("says which calls came before what was wrong, and whether it came on the way to what the purpose is about", async () => {
  const asked = async (t: TestCase) => {
    await keyStorage(t.provider)
      .getKeyStatus({ keyId: "0".repeat(32) })
      .catch(() => {});
  };
  const about: PurposeSpec["run"] = async (t) => {
    await asked(t);
    expectation(false, "a key of 32 bytes", "31 bytes");
  };
  const before: PurposeSpec["run"] = async (t) => {
    await asked(t);
    expectFirst(false, "an answer");
  };
  const call = /the last calls were KeyStorageService\/GetKeyStatus to kss: UNAVAILABLE after [\d.]+ ms$/;
  expect(await performed(about)).toMatchObject({
    actual: expect.stringMatching(new RegExp(`^31 bytes; ${call.source}`)),
    onTheWay: false,
  });
  expect(await performed(before)).toMatchObject({ actual: expect.stringMatching(call), onTheWay: true });
});

test("after a flood of calls, those are said that came last", async () => {
  const flood: PurposeSpec["run"] = async (t) => {
    for (let i = 0; i < 70; i++) t.log.end(t.log.begin("kit", "kss", "KeyStorageService/GetKeyStatus"));
    for (const reason of [ErrorReason.KEY_NOT_FOUND, ErrorReason.KEY_NOT_STORED])
      t.log.end(t.log.begin("kit", "kss", "KeyStorageService/GetKey"), refusal(reason));
    expectation(false, "a key");
  };
  const { actual, messages } = await performed(flood);
  expect(actual).toMatch(/GetKeyStatus to kss: OK .*, .*GetKey to kss: .*KEY_NOT_FOUND .*, .*KEY_NOT_STORED after/);
  expect(messages).toHaveLength(60);
});

describe("what a check leaves unawaited", () => {
  const openCall = (user: User) => keyStorage(user).getKeyStatus({ keyId: "0".repeat(32) });

  test("a call under way ends with the purpose that failed before it, and changes nothing", async () => {
    const hole = await blackHole();
    const run: PurposeSpec["run"] = async (t) => {
      await Promise.all(["provider", "operator"].map((party) => openCall(t.as(party as PartyName))));
    };
    const results = await Promise.all([performed(run, {}, hole.endpoint), performed(async () => {})]);
    expect(results).toMatchObject([
      { verdict: "INCONC", actual: "no certificate for operator was given" },
      { verdict: "PASS" },
    ]);
    await hole.close();
  });

  test("a failure after the first one changes nothing", async () => {
    const run: PurposeSpec["run"] = async () => {
      const later = Promise.reject(new TypeError("later"));
      await wrong();
      await later;
    };
    expect(await performed(run)).toMatchObject({ verdict: "FAIL", actual: expect.stringMatching(/TOKEN_INVALID/) });
  });

  test("a check that passes without having awaited all of it is a fault of the kit", async () => {
    const run: PurposeSpec["run"] = async () => void wrong();
    expect(await performed(run)).toMatchObject({
      verdict: "ERROR",
      actual: expect.stringMatching(/did not await.*TOKEN_INVALID/),
    });
  });
});

describe("time", () => {
  test("a check that never ends is inconclusive when its budget is spent", async () => {
    const result = await performed(() => new Promise(() => {}), { budgetSeconds: 0.05 });
    expect(result).toMatchObject({ verdict: "INCONC", actual: "no verdict within 0.05 s" });
  });

  test("a call into a black hole ends with the purpose", async () => {
    const hole = await blackHole();
    const from = performance.now();
    const run: PurposeSpec["run"] = async (t) =>
      void (await keyStorage(t.provider).getKeyStatus({ keyId: "0".repeat(32) }));
    const result = await performed(run, { budgetSeconds: 0.3 }, hole.endpoint);
    expect(result).toMatchObject({ verdict: "INCONC", actual: "no verdict within 0.3 s" });
    expect(performance.now() - from).toBeLessThan(5_000);
    await hole.close();
  });

  test("what has not begun within the campaign's budget is inconclusive", async () => {
    const stage = stageAt(NOWHERE);
    const slow = purpose({ ...shape, id: "TP/KSS/TV/BI-01", run: () => new Promise(() => {}) });
    const next = purpose({ ...shape, id: "TP/KSS/TV/BI-02", run: async () => {} });
    const results = await execute([slow, next], stage, { parallel: 1, budgetMs: 50 });
    expect(results.map(({ verdict }) => verdict)).toEqual(["INCONC", "INCONC"]);
    expect(results[0]?.actual).toBe("no verdict before the campaign's budget of 0.05 s was spent");
    expect(results[1]?.actual).toMatch(/budget of 0.05 s was spent/);
    await stage.close();
  });
});

describe("against a server that has no method at all", () => {
  let server: RunningServer;
  beforeEach(async () => {
    const { privateKeyPem, certificateChainPem } = authority.party("kss");
    const authorities = [authority.trustAnchorPem, authority.intermediatePem];
    const credentials = { privateKey: privateKeyPem, certificateChain: certificateChainPem, authorities };
    server = await startServer({ name: "kss", credentials, registrations: [] });
  });
  afterEach(() => server.close(0));

  const registering = (t: TestCase) =>
    keyStorage(t.provider).registerKey({ requestId: t.random(16), managementIdentity: "urn:x1410:entity:dssm:any" });
  const likelyMistake = "something else";
  const [register, store] = ["KeyStorageService/RegisterKey", "KeyStorageService/StoreKey"] as const;

  /** Under the identity that the certificate names. */
  const verdictOn = async (spec: Partial<PurposeSpec>, run: PurposeSpec["run"]) => {
    const kss = { endpoint: server.address, identity: authority.identityOf("kss") };
    const stage = stageAt(NOWHERE, { entities: { dssm: kss, kss, dss: kss } });
    const one = purpose({ ...shape, likelyMistake, ...spec, run });
    const [result] = await execute([one], stage, { parallel: 1, budgetMs: 30_000 });
    await stage.close();
    return result as PurposeResult;
  };

  test("a purpose whose own method that is fails, and no mistake explains it", async () => {
    const spec = { methods: [register], expected: "a key", id: "TP/KSS/KSM/BV-01" } as const;
    expect(await verdictOn(spec, async (t) => void (await registering(t)))).toMatchObject({
      verdict: "FAIL",
      actual: expect.stringMatching(/^KeyStorageService\/RegisterKey to kss: UNIMPLEMENTED without a reason/),
      onTheWay: true,
    });
  });

  test.each([
    { methods: [store], expected: "a stored key", id: "TP/KSS/KSM/BV-02" },
    { methods: [store], id: "TP/KSS/KSM/BI-04" },
  ] as const)("a purpose that does not get to its own method is inconclusive ($id)", async (spec) => {
    expect(await verdictOn(spec, async (t) => void (await registering(t)))).toMatchObject({
      verdict: "INCONC",
      actual: expect.stringMatching(/^on the way to what is asked: KeyStorageService\/RegisterKey .*UNIMPLEMENTED/),
    });
  });

  test("what fails after a purpose's own method is its failure", async () => {
    const result = await verdictOn(
      { methods: [store], expected: "a stored key", id: "TP/KSS/KSM/BV-02" },
      async (t) => {
        await keyStorage(t.provider)
          .storeKey({ keyId: "0".repeat(32), key: t.random(32) })
          .catch(() => {});
        await registering(t);
      },
    );
    expect(result).toMatchObject({ verdict: "FAIL", onTheWay: true });
  });
});

test("a session that the kit's user does not get is the failure of purposes about sessions, and of no other", async () => {
  const { privateKeyPem, certificateChainPem } = authority.party("dssm");
  const authorities = [authority.trustAnchorPem, authority.intermediatePem];
  const credentials = { privateKey: privateKeyPem, certificateChain: certificateChainPem, authorities };
  const server = await startServer({ name: "dssm", credentials, registrations: [] });
  const dssm = { endpoint: server.address, identity: authority.identityOf("dssm") };
  const stage = stageAt(NOWHERE, { entities: { dssm, kss: dssm, dss: dssm } });
  const of = (id: PurposeSpec["id"], method: "UserAuthenticationService/EndSession" | "TokenService/CreateToken") =>
    purpose({
      ...shape,
      id,
      methods: [method],
      expected: "it",
      run: async (t) => void (await t.inSession(t.provider)),
    });
  const list = [
    of("TP/DSSM/AAU/BV-03", "UserAuthenticationService/EndSession"),
    of("TP/DSSM/TM/BV-01", "TokenService/CreateToken"),
  ];
  const results = await execute(list, stage, { parallel: 1, budgetMs: 30_000 });
  expect(results).toMatchObject([
    { verdict: "FAIL" },
    { verdict: "INCONC", actual: expect.stringMatching(/the kit's user does not get a session: UNIMPLEMENTED/) },
  ]);
  await stage.close();
  await server.close(0);
});

describe("clean-up", () => {
  test("runs last to first whatever the verdict, with time of its own", async () => {
    const order: number[] = [];
    const result = await performed(
      (t) => {
        for (const number of [1, 2, 3]) t.cleanUp(async () => void order.push(number));
        return new Promise(() => {});
      },
      { budgetSeconds: 0.05 },
    );
    expect([order, result.leftBehind]).toEqual([[3, 2, 1], []]);
  });

  test("says what is left, and takes what is gone already for clean", async () => {
    const { leftBehind } = await performed(async (t) => {
      t.cleanUp(() => Promise.reject(refusal(ErrorReason.KEY_NOT_FOUND)));
      t.cleanUp(() => Promise.reject(refusal(ErrorReason.OBJECT_IN_USE)));
    });
    expect(leftBehind).toEqual([expect.stringMatching(/OBJECT_IN_USE/)]);
  });
});

test("what an order to stop ends cleans up, what has not begun by then does not begin, and both say why", async () => {
  const stage = stageAt(NOWHERE);
  const stop = new AbortController();
  const cleaned: string[] = [];
  const endless = purpose({
    ...shape,
    id: "TP/KSS/TV/BI-01",
    run: (t) => {
      t.cleanUp(async () => void cleaned.push("a key"));
      stop.abort(new Inconclusive("interrupted by SIGINT"));
      return new Promise(() => {});
    },
  });
  const next = purpose({ ...shape, id: "TP/KSS/TV/BI-02", run: async () => void cleaned.push("never begun") });
  const results = await execute([endless, next], stage, { parallel: 1, budgetMs: 30_000, stop: stop.signal });
  const why = { verdict: "INCONC", actual: "interrupted by SIGINT" };
  expect([results, cleaned]).toMatchObject([[why, why], ["a key"]]);
  await stage.close();
});

test("a call that is on its way when the purposes are ended is awaited, so that what it made can be taken away", async () => {
  const stage = stageAt(NOWHERE);
  const stop = new AbortController();
  const cleaned: string[] = [];
  const registering = purpose({
    ...shape,
    run: async (t) => {
      stop.abort(new Inconclusive("interrupted by SIGINT"));
      const key = await new Promise<string>((resolve) => setImmediate(resolve, "a key"));
      t.cleanUp(async () => void cleaned.push(key));
    },
  });
  await execute([registering], stage, { parallel: 1, budgetMs: 30_000, stop: stop.signal });
  expect(cleaned).toEqual(["a key"]);
  await stage.close();
});

test("results come in the order of the purposes, however many at a time", async () => {
  const stage = stageAt(NOWHERE);
  // Each waits for the one after it, so that they end from last to first.
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  gates[4]?.resolve();
  const list = [0, 1, 2, 3].map((index) =>
    purpose({
      ...shape,
      id: `TP/KSS/TV/BV-0${index}`,
      run: async () => {
        await gates[index + 1]?.promise;
        gates[index]?.resolve();
      },
    }),
  );
  const ended: string[] = [];
  const results = await execute(list, stage, { parallel: 4, budgetMs: 5_000, onResult: ({ id }) => ended.push(id) });
  expect(results.map(({ id }) => id)).toEqual(list.map(({ id }) => id));
  expect(ended).toEqual(list.map(({ id }) => id).reverse());
  await stage.close();
});

test("seeded data depends on seed and purpose, not on the order", async () => {
  const drawn = async (id: PurposeSpec["id"]) => {
    let bytes: Uint8Array = new Uint8Array();
    await performed(
      async (t) => {
        bytes = t.seeded(40);
        expectation(t.seededNumber(10) < 10, "a number below 10");
      },
      { id },
    );
    return Buffer.from(bytes).toString("hex");
  };
  const first = await drawn("TP/KSS/TV/BV-01");
  expect(first).toHaveLength(80);
  expect(await drawn("TP/KSS/TV/BV-01")).toBe(first);
  expect(await drawn("TP/KSS/TV/BV-02")).not.toBe(first);
});
