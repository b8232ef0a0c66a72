// A service written once against Connect's types, free of the wire: hosted on grpc-js, on connect-node and directly inside a process.
import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

export interface Registration<S extends DescService = DescService> {
  readonly service: S;
  /** Methods left out answer UNIMPLEMENTED. */
  readonly implementation: Partial<ServiceImpl<S>>;
}

export function implement<S extends DescService>(service: S, implementation: Partial<ServiceImpl<S>>): Registration<S> {
  return { service, implementation };
}
