// What a server says about itself. Fields are facts about calls and connections; secrets and personal data never are.
export interface Log {
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

/** The log of one entity among several: each line names it. */
export function logOf(entity: string, log: Log): Log {
  return {
    info: (event, fields) => log.info(event, { entity, ...fields }),
    warn: (event, fields) => log.warn(event, { entity, ...fields }),
    error: (event, fields) => log.error(event, { entity, ...fields }),
  };
}

const ignore = () => undefined;
export const silentLog: Log = { info: ignore, warn: ignore, error: ignore };
