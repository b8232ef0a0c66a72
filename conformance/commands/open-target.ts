// From the command line to a stage: the implementation of a target file with the harness around it, or the reference's own entities.

import { ListenError } from "../../reference/communications/tls-listener.ts";
import type { ClientStack } from "../channels.ts";
import { Harness } from "../harness/harness.ts";
import { type ImplementationProcess, startImplementation } from "../implementation-process.ts";
import { type Pics, readPics } from "../pics.ts";
import { referenceSubset } from "../reference-subsets.ts";
import { Stage } from "../stage.ts";
import { type EntityRole, entityRoles, readTargetSettings, TargetError } from "../target.ts";
import { checkTarget } from "../target-check.ts";

export interface OpenTargetOptions {
  /** Undefined: the reference. */
  readonly file: string | undefined;
  /** Of the reference. */
  readonly reference: readonly EntityRole[];
  readonly pics: readonly string[];
  /** Starts the implementation. */
  readonly command: string | undefined;
  readonly client: ClientStack;
  readonly seed: string;
  readonly recordBytes: number;
  /** Waits no longer for the implementation to serve. */
  readonly stop?: AbortSignal;
}

export interface OpenTarget {
  readonly stage: Stage;
  readonly pics: readonly Pics[];
  /** Aborted where the implementation that the kit started ends by itself. */
  readonly ended?: AbortSignal;
  close(): Promise<void>;
}

/** What the system says of the port. */
function portInUse(cause: unknown): { readonly address: string; readonly port: number } | undefined {
  if (!(cause instanceof ListenError)) return undefined;
  const { code, address = "", port = 0 } = cause.cause as NodeJS.ErrnoException & { address?: string; port?: number };
  return code === "EADDRINUSE" ? { address, port } : undefined;
}

/** @throws TargetError, PicsError, ListenError, ImplementationError */
export async function openTarget(options: OpenTargetOptions): Promise<OpenTarget> {
  const { file, client, seed, recordBytes } = options;
  const pics = await Promise.all(options.pics.map(readPics));
  const stageOptions = { client, seed, recordBytes };
  if (file === undefined) {
    const reference = await referenceSubset(options.reference);
    const stage = new Stage(reference.settings, reference.harness, stageOptions);
    const close = () => {
      stage.disconnect();
      return reference.close();
    };
    return { stage, pics: pics.length === 0 ? reference.pics : pics, close };
  }
  const settings = await readTargetSettings(file);
  checkTarget(file, settings);
  const { trustAnchorsPem, credentials } = settings;
  const harness =
    settings.harness &&
    (await Harness.start({ ...settings.harness, credentials, trustAnchorsPem }).catch((cause: unknown) => {
      const taken = portInUse(cause);
      if (taken === undefined) throw cause;
      const place = `${taken.address}:${taken.port}`;
      throw new TargetError(`${file}: ${place} is in use by another process: choose other ports with harness.basePort`);
    }));
  let stage: Stage | undefined;
  let implementation: ImplementationProcess | undefined;
  const close = async () => {
    stage?.disconnect();
    await implementation?.stop();
    await harness?.close();
  };
  try {
    const opened = new Stage(settings, harness, stageOptions);
    stage = opened;
    for (const role of entityRoles.filter((one) => opened.target.underTest.has(one)))
      harness?.learn({ ...opened.target.entities[role], certificateChainPem: "" });
    if (options.command !== undefined)
      implementation = await startImplementation(options.command, opened, options.stop);
    return { stage: opened, pics, ...(implementation && { ended: implementation.ended }), close };
  } catch (cause) {
    await close();
    throw cause;
  }
}
