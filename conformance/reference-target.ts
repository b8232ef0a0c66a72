// The reference stack as a target like any other: started in a temporary directory on free ports, known to the kit by its target file only.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../reference/communications/log.ts";
import { launchHere } from "../reference/stack/one-process.ts";
import { startStack } from "../reference/stack/stack.ts";

export interface TemporaryStack {
  readonly targetFile: string;
  /** Stops it and removes its directory. */
  close(): Promise<void>;
}

export async function temporaryStack(): Promise<TemporaryStack> {
  const folder = await mkdtemp(join(tmpdir(), "x1410-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const stack = await startStack(
      {
        dataDirectory: join(folder, "data"),
        host: "127.0.0.1",
        basePort: 0,
        ledgerNodes: 1,
        revocationRefreshMs: 60_000,
        introspection: "off",
        log: silentLog,
      },
      launchHere,
    );
    return {
      targetFile: stack.targetFile,
      close: async () => {
        await stack.close();
        await remove();
      },
    };
  } catch (cause) {
    await remove();
    throw cause;
  }
}
