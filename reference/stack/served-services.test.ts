// The kit keeps a list of its own of what each entity under test serves, for it imports no server's inside.
import { getOption } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { servedBy } from "../../conformance/protocol.ts";
import type { EntityRole } from "../../conformance/target.ts";
import { service as serviceOption } from "../../gen/x1410/v1/annotations_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import type { ServerKind } from "./plan.ts";
import { servedServices } from "./served-services.ts";

test.each(Object.keys(servedBy) as EntityRole[])("what the kit asks of a %s is what one here serves", (role) => {
  const names = (services: readonly { readonly typeName: string }[]) => services.map(({ typeName }) => typeName).sort();
  expect(names(servedBy[role])).toEqual(names(servedServices[role]));
});

test("each entity serves what its descriptors say, and the management answers for the ledger's system management too", () => {
  const entities = { dssm: "DSSM", kss: "KSS", dss: "DSS", ledger: "DLT", ca: "CA" } as const;
  const others = (Object.keys(entities) as ServerKind[]).flatMap((kind) =>
    servedServices[kind].filter((service) => getOption(service, serviceOption).entity !== entities[kind]),
  );
  expect(others).toEqual([SystemManagementService]);
});
