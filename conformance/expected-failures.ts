// Known failures of an implementation: they still run and must still fail. One that passes is stale and fails the run, so that the list
// never hides what has been mended.
import { readFile } from "node:fs/promises";

/** Ids of purposes, each with the remark of its line. */
export type ExpectedFailures = ReadonlyMap<string, string>;

/** A list that cannot be used; the message says which line. */
export class ExpectedFailuresError extends Error {
  override name = "ExpectedFailuresError";
}

/**
 * Reads a list: one id a line, a remark after `#`.
 * @param known ids of the suite
 * @throws ExpectedFailuresError where the file cannot be read, or a line names no purpose of the suite
 */
export async function readExpectedFailures(path: string, known: ReadonlySet<string>): Promise<ExpectedFailures> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ExpectedFailuresError(`cannot read the expected failures ${path} (${cause.code})`);
  });
  const expected = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    const [id = "", ...remark] = line.split("#").map((part) => part.trim());
    if (id === "") continue;
    if (!known.has(id)) throw new ExpectedFailuresError(`${path}:${index + 1}: ${id} is no purpose of this suite`);
    expected.set(id, remark.join("# "));
  }
  return expected;
}
