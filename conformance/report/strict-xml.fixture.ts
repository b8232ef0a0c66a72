// A parser of XML 1.0 documents without a DTD that forgives nothing: for tests of what the kit writes.

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Its own character data. */
  readonly text: string;
}

const NAME = "[A-Za-z_:][A-Za-z0-9_.:-]*";
// biome-ignore lint/suspicious/noControlCharactersInRegex: clause 2.2 is about them
const FORBIDDEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/u;

/** @throws SyntaxError at the first character that is not well-formed */
export function parseXml(text: string): XmlElement {
  if (!text.isWellFormed() || FORBIDDEN.test(text)) throw new SyntaxError("a character that XML 1.0 forbids");
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    const sticky = new RegExp(pattern.source, "yu");
    sticky.lastIndex = at;
    const match = sticky.exec(text) ?? undefined;
    if (match !== undefined) at = sticky.lastIndex;
    return match;
  };
  const fail = (what: string): never => {
    throw new SyntaxError(`${what} at ${at}: ${JSON.stringify(text.slice(at, at + 40))}`);
  };
  const element = (): XmlElement => {
    const name = take(new RegExp(`<(${NAME})`))?.[1] ?? fail("no start tag");
    const attributes: Record<string, string> = {};
    for (let match = take(attribute); match !== undefined; match = take(attribute)) {
      const [, key = "", value = ""] = match;
      if (key in attributes) fail(`attribute ${key} twice`);
      attributes[key] = resolved(value);
    }
    if (take(/\s*\/>/) !== undefined) return { name, attributes, children: [], text: "" };
    if (take(/\s*>/) === undefined) fail("the start tag does not end");
    const children: XmlElement[] = [];
    let own = "";
    while (take(new RegExp(`</${name}\\s*>`)) === undefined) {
      const data = take(/[^<]+/)?.[0];
      if (data?.includes("]]>")) fail("]]> in character data");
      if (data === undefined) children.push(element());
      else own += resolved(data);
    }
    return { name, attributes, children, text: own };
  };
  const attribute = new RegExp(`\\s+(${NAME})="([^<"]*)"`);
  if (take(/<\?xml version="1\.0" encoding="UTF-8"\?>\n/) === undefined) fail("no declaration");
  const root = element();
  if (take(/\s*$/) === undefined) fail("something follows the root");
  return root;
}

function resolved(text: string): string {
  const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replace(/&([^;]*;?)/g, (_, reference: string) => {
    const [, decimal] = /^#(\d+);$/.exec(reference) ?? [];
    const character = decimal === undefined ? named[reference.slice(0, -1)] : String.fromCodePoint(Number(decimal));
    if (character === undefined || !reference.endsWith(";") || FORBIDDEN.test(character))
      throw new SyntaxError(`no reference: &${reference}`);
    return character;
  });
}
