// Whether a database can be opened anew: LevelDB turns its log into a table then. Where that does not fit it does not open, and there would be no
// reads either; so it is tried before the database is closed.
import { open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Beyond what is in the log: for lists of tables, and for the writes that come next. */
const MARGIN_BYTES = 256 * 1024;

/** Between attempts to open a database that did not open. */
export const REOPEN_RETRY_MS = 1_000;

/** @throws what the file system says where there is no room to open this database anew */
export async function assertRoomToReopen(location: string): Promise<void> {
  const logs = (await readdir(location)).filter((name) => name.endsWith(".log"));
  const sizes = await Promise.all(logs.map(async (name) => (await stat(join(location, name))).size));
  const path = join(dirname(location), "room");
  try {
    const file = await open(path, "w", 0o600);
    try {
      await file.writeFile(Buffer.alloc(sizes.reduce((sum, size) => sum + size, MARGIN_BYTES)));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}
