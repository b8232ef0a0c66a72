// XML and HTML from templates in which every value is escaped, whatever an implementation under test has put into it.

/** Text that is markup already; templates leave it as it is. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

type Value = string | number | Markup | readonly Markup[];

/** A template tag: `markup\`<b title="${any}">${thing}</b>\``. Lists are joined; everything that is not markup is escaped. */
export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  let text = strings[0] ?? "";
  values.forEach((value, index) => {
    const before = strings[index] ?? "";
    text += inserted(value, before.endsWith('="')) + (strings[index + 1] ?? "");
  });
  return new Markup(text);
}

export const nothing = new Markup("");

/** The markup where there is something to show. */
export function when(condition: boolean, then: () => Markup): Markup {
  return condition ? then() : nothing;
}

function inserted(value: Value, inAttribute: boolean): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return inAttribute ? escapedAttribute(String(value)) : escaped(String(value));
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
};

/**
 * Text content. Characters that XML 1.0 (clause 2.2) has no way to write, not even as a reference, are shown by their picture (U+2400 and
 * following) or by U+FFFD, so that whoever reads the report still sees that something was there.
 */
export function escaped(text: string): string {
  return text
    .toWellFormed()
    .replace(/[&<>"\r]/g, (character) => entities[character] ?? "")
    .replace(/[\p{Cc}\uFFFE\uFFFF]/gu, shownControl);
}

/** An attribute's value: its line ends and tabs would otherwise come back as spaces (clause 3.3.3). */
export function escapedAttribute(text: string): string {
  return escaped(text).replace(/[\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function shownControl(character: string): string {
  const code = character.charCodeAt(0);
  if (code === 0x09 || code === 0x0a) return character;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\uFFFD";
}
