import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mandatoryOnly, PicsError, proforma, proformaText, readPics, staticReview } from "./pics.ts";
import { entityRoles } from "./target.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-pics-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(text: string) {
  const path = join(folder, "pics.yaml");
  await writeFile(path, text);
  return readPics(path);
}

const blank = proformaText("kss", "ITU-T X.1410 (03/2023)", "x1410.v1");
const filled = blank.replaceAll('support: "?"', "support: no");

describe("the proforma", () => {
  test.each(entityRoles)("of the %s has no item twice and every status", (role) => {
    const items = proforma(role).map(({ item }) => item);
    expect(items.filter((item, index) => items.indexOf(item) !== index)).toEqual([]);
    expect(new Set(proforma(role).map(({ status }) => status))).toContain("M");
    expect(items).toContain("AAC1");
  });

  test("has each entity's own methods, steps and capabilities", () => {
    const items = (role: "kss" | "dss") => proforma(role).map(({ item }) => item);
    expect(items("kss")).toEqual(expect.arrayContaining(["KSM3", "TV2", "F4.13.1", "KeyStorageService/GetKey"]));
    expect(items("dss")).toEqual(expect.arrayContaining(["DD3", "F4.17", "DataDistributionService/GetPackage"]));
    expect(items("dss")).not.toContain("TV2");
  });

  test("is read as it was filled in", async () => {
    const pics = await read(filled.replace('implementation: ""', "implementation: ours 7"));
    expect(pics).toMatchObject({ entity: "kss", implementation: "ours 7" });
    expect(pics.supported).toEqual(mandatoryOnly("kss").supported);
    expect(staticReview(pics)).toEqual([]);
  });

  test.each([
    ["left unanswered", blank, /: \d+ items, (?:\S+, ){4}\S+ and \d+ more: support must be yes or no$/],
    ["with one item unanswered", filled.replace("support: no", "support: maybe"), /: \S+: support must be yes or no$/],
    ["of nobody", filled.replace("entity: kss", "entity: ledger"), /entity must be one of dssm, kss, dss/],
    ["with an item missing", filled.replace(/ {2}- { item: TV2,.*\n/, ""), /TV2 not answered/],
    ["with an unknown item", `${filled}  - { item: TV9, support: yes }\n`, /TV9 is no item of the kss's proforma/],
    ["with an item twice", `${filled}  - { item: TV2, support: yes }\n`, /TV2 is answered twice/],
    ["that is no YAML", "a: [", /is not YAML/],
    ["that is a list", "- a", /items must be a list|entity must be/],
  ])("%s is refused in one line", async (_, text, message) => {
    const refused = read(text);
    await expect(refused).rejects.toThrow(PicsError);
    await expect(refused).rejects.toThrow(message);
  });
});

test("the static review finds a mandatory item that is not supported", async () => {
  const without = filled.replace(/(item: TV2,.*support: )yes/, "$1no");
  expect(staticReview(await read(without))).toMatchObject([{ entity: "kss", item: "TV2", clause: "6.2.3" }]);
});
