// Validates a JSON value against a schema written with the part of JSON Schema 2020-12 that the kit's own schemas use. A keyword outside
// that part is an error of the schema, never ignored: what it demands would go unchecked.

export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

type Check = (given: unknown, value: unknown, place: string, schema: JsonSchema, root: JsonSchema) => string[];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

const annotation: Check = () => [];

const checks: Readonly<Record<string, Check>> = {
  $schema: annotation,
  $id: annotation,
  $defs: annotation,
  title: annotation,
  description: annotation,
  $ref: (given, value, place, _, root) => violationsAt(resolved(root, String(given)), value, place, root),
  type: (given, value, place) => {
    const right = given === "integer" ? Number.isInteger(value) : typeOf(value) === given;
    return right ? [] : [`${place}: ${typeOf(value)} where ${given} is asked`];
  },
  const: (given, value, place) => (value === given ? [] : [`${place}: not ${JSON.stringify(given)}`]),
  enum: (given, value, place) =>
    (given as unknown[]).includes(value) ? [] : [`${place}: not one of ${JSON.stringify(given)}`],
  pattern: (given, value, place) =>
    typeof value !== "string" || new RegExp(String(given), "u").test(value) ? [] : [`${place}: not like ${given}`],
  minimum: (given, value, place) =>
    typeof value !== "number" || value >= Number(given) ? [] : [`${place}: below ${given}`],
  minItems: (given, value, place) =>
    !Array.isArray(value) || value.length >= Number(given) ? [] : [`${place}: fewer than ${given} items`],
  maxItems: (given, value, place) =>
    !Array.isArray(value) || value.length <= Number(given) ? [] : [`${place}: more than ${given} items`],
  items: (given, value, place, _, root) =>
    Array.isArray(value)
      ? value.flatMap((item, index) => violationsAt(given as JsonSchema, item, `${place}[${index}]`, root))
      : [],
  required: (given, value, place) =>
    isObject(value)
      ? (given as string[]).filter((name) => !Object.hasOwn(value, name)).map((name) => `${place}: ${name} is missing`)
      : [],
  properties: (given, value, place, _, root) =>
    isObject(value)
      ? Object.entries(given as Record<string, JsonSchema>).flatMap(([name, one]) =>
          Object.hasOwn(value, name) ? violationsAt(one, value[name], `${place}.${name}`, root) : [],
        )
      : [],
  additionalProperties: (given, value, place, { properties = {} }) => {
    if (given !== false) throw new TypeError("additionalProperties must be false");
    const unknown = isObject(value)
      ? Object.keys(value).filter((name) => !Object.hasOwn(properties as object, name))
      : [];
    return unknown.map((name) => `${place}: ${name} is unknown`);
  },
};

/**
 * What is wrong with the value, each with its place; nothing where it is valid.
 * @throws TypeError where the schema has a keyword that is not understood
 */
export function violations(schema: JsonSchema, value: unknown): string[] {
  return violationsAt(schema, value, "$", schema);
}

function violationsAt(schema: JsonSchema, value: unknown, place: string, root: JsonSchema): string[] {
  return Object.entries(schema).flatMap(([keyword, given]) => {
    const check = checks[keyword];
    if (check === undefined) throw new TypeError(`keyword ${keyword} is not understood`);
    return check(given, value, place, schema, root);
  });
}

function resolved(root: JsonSchema, reference: string): JsonSchema {
  const name = /^#\/\$defs\/(\w+)$/.exec(reference)?.[1] ?? "";
  const definitions = root["$defs"] as Readonly<Record<string, JsonSchema>> | undefined;
  const found = definitions?.[name];
  if (found === undefined) throw new TypeError(`${reference} leads nowhere`);
  return found;
}
