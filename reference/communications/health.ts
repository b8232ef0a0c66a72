// Standard gRPC health checking (grpc.health.v1), as one more registration: same guards, same hostings.
import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { protoPath } from "grpc-health-check";
import { implementFromProto, serviceFromProto } from "./proto-file.ts";
import type { Registration } from "./service.ts";

const status = { serving: 1, notServing: 2, unknownService: 3 } as const;

export interface Health {
  readonly registration: Registration;
  /** Whether the server answers its business calls; told to those who watch. */
  setServing(serving: boolean): void;
}

/** Answers for the whole server under "" and for each of `services` under its name. */
export function health(services: readonly DescService[]): Health {
  const service = serviceFromProto(protoPath, "grpc.health.v1.Health");
  const names = new Set(["", ...services.map(({ typeName }) => typeName)]);
  let current: number = status.serving;
  let changed = Promise.withResolvers<void>();

  const statusOf = (name: string) => (names.has(name) ? current : status.unknownService);
  const implementation = {
    check({ service: name }: { service: string }) {
      if (!names.has(name)) throw new ConnectError("no such service", Code.NotFound);
      return { status: current };
    },
    list: () => ({ statuses: Object.fromEntries([...names].map((name) => [name, { status: current }])) }),
    async *watch({ service: name }: { service: string }, { signal }: HandlerContext) {
      const left = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      let told: number | undefined;
      while (!signal.aborted) {
        const change = changed.promise;
        const now = statusOf(name);
        if (now !== told) yield { status: now };
        told = now;
        await Promise.race([change, left]);
      }
    },
  };
  return {
    registration: implementFromProto(service, implementation),
    setServing(serving) {
      current = serving ? status.serving : status.notServing;
      const { resolve } = changed;
      changed = Promise.withResolvers();
      resolve();
    },
  };
}
