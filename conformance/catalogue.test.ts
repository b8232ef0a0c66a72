import { readdirSync } from "node:fs";
import { type DescFile, type DescMethod, getOption } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { method, Origin, service } from "../gen/x1410/v1/annotations_pb.ts";
import { CAPABILITIES, COMPONENTS, STEPS } from "./catalogue.ts";

const folder = new URL("../gen/x1410/v1/", import.meta.url);
const modules = await Promise.all(
  readdirSync(folder).map((name): Promise<Record<string, DescFile>> => import(new URL(name, folder).href)),
);
const files = modules.flatMap((exported) => Object.entries(exported).filter(([name]) => name.startsWith("file_")));
const services = files.flatMap(([, file]) => file.services);
const methods: DescMethod[] = services.flatMap((desc) => desc.methods);
const carried = new Set(methods.flatMap((desc) => getOption(desc, method).steps));

describe("the catalogue", () => {
  test("has no id twice", () => {
    for (const list of [COMPONENTS, CAPABILITIES, STEPS]) {
      const ids = list.map(({ id }) => id);
      expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    }
  });

  test("knows every step and capability that the protocol names", () => {
    const known = new Set([...STEPS, ...CAPABILITIES].map(({ id }) => id));
    const named = methods.flatMap((desc) => [
      ...getOption(desc, method).steps,
      ...getOption(desc, method).capabilities,
    ]);
    expect(named.filter((id) => !known.has(id))).toEqual([]);
  });

  test("knows every component that a service formalises", () => {
    const entities = new Set(COMPONENTS.map(({ entity }) => entity));
    const ids = new Set(COMPONENTS.map(({ id }) => id));
    for (const { entity, component } of services.map((desc) => getOption(desc, service))) {
      expect(entities).toContain(entity);
      // The ledger's own components are named in words: Figure 1 draws them grey.
      if (entity !== "DLT") expect(ids).toContain(component);
    }
  });

  test("sends every exchange between two parties through a method", () => {
    const exchanges = STEPS.filter(({ kind }) => kind === "exchange").map(({ id }) => id);
    expect(exchanges.filter((id) => !carried.has(id))).toEqual([]);
  });

  test("leaves the handshakes to TLS", () => {
    expect(STEPS.filter(({ id, kind }) => kind === "security" && carried.has(id))).toEqual([]);
  });

  test("finds a method for every server-side capability that X.1410 names", () => {
    const exercised = new Set(methods.flatMap((desc) => getOption(desc, method).capabilities));
    const local = new Set(["DP", "DC", "all", "DSSM/API", "KSS/API", "DSS/API"]);
    const served = CAPABILITIES.filter(({ owners }) => owners.every((owner) => !local.has(owner)));
    expect(served.map(({ id }) => id).filter((id) => !exercised.has(id))).toEqual([]);
    expect(methods.filter((desc) => getOption(desc, method).origin === Origin.UNSPECIFIED)).toEqual([]);
  });
});
