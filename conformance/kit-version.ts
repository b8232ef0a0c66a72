// The version of the package that the kit comes in.
import { existsSync, readFileSync } from "node:fs";

/** As package.json has it, beside the sources or beside their compiled form. */
export function kitVersion(): string {
  const places = ["../package.json", "../../package.json"].map((path) => new URL(path, import.meta.url));
  const found = places.find((place) => existsSync(place));
  if (found === undefined) throw new Error("the kit is not inside its package");
  return (JSON.parse(readFileSync(found, "utf8")) as { version: string }).version;
}
