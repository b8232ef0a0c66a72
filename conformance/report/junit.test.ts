import { describe, expect, test } from "vitest";
import { junitXml } from "./junit.ts";
import { escaped, escapedAttribute, markup } from "./markup.ts";
import { hostileText, sampleReport } from "./report.fixture.ts";
import { parseXml, type XmlElement } from "./strict-xml.fixture.ts";
import { totalsOf } from "./totals.ts";

/** junit-10.xsd of Jenkins' xUnit plugin, as far as the kit uses it: attributes (required ones marked), children in order. */
const schema: Readonly<Record<string, { attributes: readonly string[]; children: readonly string[] }>> = {
  testsuites: { attributes: ["name", "tests", "failures", "errors", "time", "disabled"], children: ["testsuite"] },
  testsuite: {
    attributes: ["name!", "tests!", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"],
    children: ["properties", "testcase", "system-out", "system-err"],
  },
  properties: { attributes: [], children: ["property"] },
  property: { attributes: ["name!", "value!"], children: [] },
  testcase: {
    attributes: ["name!", "classname!", "time", "assertions", "status"],
    children: ["skipped", "error", "failure", "system-out", "system-err"],
  },
  failure: { attributes: ["type", "message"], children: [] },
  error: { attributes: ["type", "message"], children: [] },
  skipped: { attributes: ["type", "message"], children: [] },
};

function assertValid({ name, attributes, children }: XmlElement): void {
  const rule = schema[name];
  if (rule === undefined) throw new Error(`${name} is no element of the schema`);
  const known = rule.attributes.map((attribute) => attribute.replace("!", ""));
  expect(known, name).toEqual(expect.arrayContaining(Object.keys(attributes)));
  for (const required of rule.attributes.filter((attribute) => attribute.endsWith("!")))
    expect(attributes, name).toHaveProperty(required.slice(0, -1));
  const places = children.map((child) => rule.children.indexOf(child.name));
  expect(places, name).not.toContain(-1);
  expect(places, name).toEqual(places.toSorted((left, right) => left - right));
  for (const child of children) assertValid(child);
}

function all(element: XmlElement, name: string): XmlElement[] {
  return [...(element.name === name ? [element] : []), ...element.children.flatMap((child) => all(child, name))];
}

const report = sampleReport();
const root = parseXml(junitXml(report));

test("the file is well-formed and has the schema's elements, attributes and order only", () => {
  expect(root.name).toBe("testsuites");
  assertValid(root);
});

test("the counts of every suite are those of its cases, and the root's are the sums", () => {
  const counted = (element: XmlElement) => ({
    tests: `${all(element, "testcase").length}`,
    failures: `${all(element, "failure").length}`,
    errors: `${all(element, "error").length}`,
  });
  for (const element of [root, ...root.children]) expect(element.attributes).toMatchObject(counted(element));
  for (const suite of root.children) expect(suite.attributes["skipped"]).toBe(`${all(suite, "skipped").length}`);
});

test("every purpose of the report has one case, of the kind that its verdict is", () => {
  const totals = totalsOf(report);
  expect(all(root, "failure")).toHaveLength(totals.FAIL + report.staticReview.length);
  expect(all(root, "error")).toHaveLength(totals.INCONC + totals.ERROR);
  expect(all(root, "skipped")).toHaveLength(totals.notApplicable + totals.outOfReach + totals.filteredOut);
  expect(all(root, "testcase")).toHaveLength(report.suite.purposes + report.staticReview.length);
});

test("a failure carries what it teaches", () => {
  const failed = report.results.find(({ verdict, likelyMistake }) => verdict === "FAIL" && likelyMistake !== "");
  const found = all(root, "testcase").find(({ attributes }) => attributes["name"]?.startsWith(`${failed?.id} `));
  const text = found?.children[0]?.text ?? "";
  expect(text).toContain(failed?.likelyMistake);
  expect(text).toContain(failed?.reproduce);
  expect(text).toMatch(/^clause: +\d/m);
  expect(text).toMatch(/^TLS: +\w+ at .* TLSv1\.3/m);
  expect(text).toMatch(/^requirement: +\w/m);
});

test("an expected failure that came is skipped, one that did not come is a failure", () => {
  const [failed] = report.results.filter(({ verdict }) => verdict === "FAIL");
  const [passed] = report.results.filter(({ verdict }) => verdict === "PASS");
  const listed = sampleReport({ expectedFailures: { met: [failed?.id ?? ""], stale: [passed?.id ?? ""] } });
  const cases = all(parseXml(junitXml(listed)), "testcase");
  const outcome = (id = "") =>
    cases.find(({ attributes }) => attributes["name"]?.startsWith(`${id} `))?.children.map(({ name }) => name);
  expect(outcome(failed?.id)).toEqual(["skipped"]);
  expect(outcome(passed?.id)).toEqual(["failure"]);
});

describe("escaping", () => {
  test("text comes back as it was, but for characters that XML cannot have", () => {
    const [back] = parseXml(
      `<?xml version="1.0" encoding="UTF-8"?>\n${markup`<a><b c="${hostileText}">${hostileText}</b></a>`}`,
    ).children;
    const readable = hostileText
      .replace("\u0000", "\u2400")
      .replace("\u0001", "\u2401")
      .replace("\u001b", "\u241b")
      .replace("\u007f", "\u2421")
      .replace("\ud800", "\ufffd");
    expect(back?.text).toBe(readable);
    expect(back?.attributes["c"]).toBe(readable);
  });

  test.each([
    ['&<>"', "&amp;&lt;&gt;&quot;"],
    ["\u0000\u0008\u000b\u001f", "\u2400\u2408\u240b\u241f"],
    ["\u0085\ufffe\uffff\udc00", "\ufffd\ufffd\ufffd\ufffd"],
    ["a\nb\tc\r", "a\nb\tc&#13;"],
    ["😀é", "😀é"],
  ])("%j", (text, wanted) => {
    expect(escaped(text)).toBe(wanted);
  });

  test("line ends and tabs survive in attributes", () => {
    expect(escapedAttribute("a\nb\tc")).toBe("a&#10;b&#9;c");
  });

  test("the strict parser is strict", () => {
    const head = '<?xml version="1.0" encoding="UTF-8"?>\n';
    for (const bad of [
      "<a>",
      "<a></b>",
      "<a b=c/>",
      '<a b="1" b="2"/>',
      "<a>&</a>",
      "<a>&nbsp;</a>",
      "<a/><b/>",
      "<a>\u0001</a>",
    ])
      expect(() => parseXml(head + bad), bad).toThrow(SyntaxError);
  });
});
