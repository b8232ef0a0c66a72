// What a server says about itself. Fields are facts about calls and connections; secrets and personal data never are.
export interface Log {
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

const ignore = () => undefined;
export const silentLog: Log = { info: ignore, warn: ignore, error: ignore };
