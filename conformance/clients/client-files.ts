// What a client under test has written, read without trust in what it is: a pipe would hold the kit up, a link lead out of the folder,
// and a file without end fill the memory.
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { expectFirst } from "../procedures/procedure.ts";

/** Far more than any purpose shares. */
export const MAX_FILE_BYTES = 256 << 20;

/**
 * The content of the file; undefined where there is none.
 * @throws Deviation where it is no regular file, or larger than the kit reads
 */
export async function clientFile(path: string, maxBytes = MAX_FILE_BYTES): Promise<Uint8Array | undefined> {
  // Neither waits for the other end of a pipe nor follows a link.
  const opened = open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const file = await opened.catch(({ code }: NodeJS.ErrnoException) => code ?? "");
  if (file === "ENOENT") return undefined;
  expectFirst(typeof file !== "string", `a regular file at ${path}`, `it cannot be read (${file})`);
  try {
    const found = await file.stat();
    expectFirst(found.isFile(), `a regular file at ${path}`, "it is something else");
    expectFirst(found.size <= maxBytes, `at most ${maxBytes} bytes at ${path}`, `${found.size} bytes`);
    const content = new Uint8Array(found.size);
    const { bytesRead } = await file.read(content, 0, found.size, 0);
    return content.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
