import { describe, expect, test } from "vitest";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { allBut, mandatoryOnly, type Pics } from "./pics.ts";
import { type Purpose, type PurposeSpec, purpose } from "./purposes/purpose.ts";
import { type Filters, type Situation, select, statusOf, untested } from "./selection.ts";
import type { EntityRole, TestedRole } from "./target.ts";

const shape = { title: "t", clause: "6.2.3", initialState: "i", stimulus: "s", run: async () => {} };
const make = (spec: Partial<PurposeSpec> & Pick<PurposeSpec, "id">): Purpose =>
  purpose({ ...shape, expected: "something", ...spec });

const verifies = make({ id: "TP/KSS/TV/BV-01", steps: ["F4.13.1"], methods: ["KeyStorageService/GetKey"] });
const refuses = make({
  id: "TP/KSS/TV/BI-01",
  tester: ["dssm"],
  expected: { reason: ErrorReason.TOKEN_INVALID },
  twin: "a good one",
});
const asks = make({ id: "TP/KSS/TV/BV-02", requires: ["F4.13.2"] });
const stores = make({ id: "TP/DSS/DSM/BV-01", clause: "6.2.4", methods: ["DataStorageService/StorePackage"] });
const replays = make({ id: "TP/ALL/F4/BV-01", steps: ["F4.13.1", "F4.13.2"], involves: ["dssm"] });
const list = [verifies, refuses, asks, stores, replays];

function situation(roles: readonly EntityRole[], given: readonly Pics[] = [], harness = true): Situation {
  const pics = new Map<TestedRole, Pics>(roles.map((role) => [role, mandatoryOnly(role)] as const));
  for (const one of given) pics.set(one.entity, one);
  return { underTest: new Set(roles), harness, pics };
}

const ids = (selected: readonly Purpose[]) => selected.map(({ id }) => id);

describe("selection", () => {
  test("leaves out other entities' purposes and what is optional and not claimed", () => {
    const { selected, notApplicable, outOfReach } = select(list, situation(["kss"]), {});
    expect(ids(selected)).toEqual([verifies.id, refuses.id]);
    expect(notApplicable).toEqual([
      { id: asks.id, reason: "F4.13.2 is not claimed" },
      { id: stores.id, reason: "the dss is not under test" },
      { id: replays.id, reason: "the dssm is not under test" },
    ]);
    expect(outOfReach).toEqual([]);
  });

  test("takes what is optional and claimed", () => {
    const { selected } = select(list, situation(["kss"], [allBut("kss", "", new Set())]), {});
    expect(ids(selected)).toContain(asks.id);
  });

  test("checks that what is stated as not there is not there, and only then", () => {
    const lacks = make({ id: "TP/KSS/AAC/BI-08", forbids: ["TLS-1.2"] });
    const without = allBut("kss", "", new Set(["TLS-1.2"]));
    expect(ids(select([lacks], situation(["kss"], [without]), {}).selected)).toEqual([lacks.id]);
    expect(ids(select([lacks], situation(["kss"]), {}).selected)).toEqual([lacks.id]);
    expect(select([lacks], situation(["kss"], [allBut("kss", "", new Set())]), {})).toMatchObject({
      selected: [],
      notApplicable: [{ id: lacks.id, reason: "TLS-1.2 is claimed" }],
    });
  });

  test("keeps a mandatory purpose that meets an optional step on its way", () => {
    expect(ids(select(list, situation(["dssm"]), {}).selected)).toEqual([replays.id]);
    expect([statusOf(replays), statusOf(asks), statusOf(stores)]).toEqual(["M", "O", "M"]);
  });

  test("says what the kit cannot reach without peers of its own", () => {
    const { selected, outOfReach } = select(list, situation(["kss"], [], false), {});
    expect(ids(selected)).toEqual([verifies.id]);
    expect(outOfReach).toEqual([{ id: refuses.id, reason: expect.stringMatching(/needs the kit as a further dssm/) }]);
  });

  test.each<[Filters, readonly Purpose[]]>([
    [{ ids: ["TP/KSS/*"] }, [verifies, refuses]],
    [{ ids: ["TP/*/BV-01"] }, [verifies, stores, replays]],
    [{ ids: ["TP.KSS.TV.BV-01"] }, []],
    [{ entities: ["dss"] }, [stores]],
    [{ clauses: ["6.2.4"] }, [stores]],
    [{ steps: ["F4.13.1"] }, [verifies, replays]],
    [{ kinds: ["BI"] }, [refuses]],
    [{ statuses: ["O"] }, []],
    [{ entities: ["KSS"], kinds: ["BV"] }, [verifies]],
  ])("by %j", (filters, wanted) => {
    const { selected, filtered } = select(list, situation(["dssm", "kss", "dss"]), filters);
    expect(ids(selected)).toEqual(ids(wanted));
    expect(filtered.length).toBeGreaterThan(0);
  });
});

test("what is claimed, and neither tested nor hidden, is named", () => {
  const pics: Pics = { entity: "kss", implementation: "", supported: new Set(["TV1", "TV2", "TV3"]) };
  expect(untested(new Set(["TV1"]), new Map([["TV3", "inside"]]), situation(["kss"], [pics]))).toEqual(["TV2"]);
});
