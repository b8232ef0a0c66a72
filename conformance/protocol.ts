// The services of the protocol and what their descriptors say, for the PICS and for coverage.
import { type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { AccessPermissionService } from "../gen/x1410/v1/access_permission_pb.ts";
import {
  method as methodOption,
  Status as StatusOption,
  service as serviceOption,
} from "../gen/x1410/v1/annotations_pb.ts";
import { DataDistributionService } from "../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService } from "../gen/x1410/v1/data_sharing_access_pb.ts";
import { DataSharingPolicyService } from "../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../gen/x1410/v1/data_storage_pb.ts";
import { InformationPublicationService } from "../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../gen/x1410/v1/key_storage_pb.ts";
import { SystemManagementService } from "../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../gen/x1410/v1/token_pb.ts";
import { TokenVerificationService } from "../gen/x1410/v1/token_verification_pb.ts";
import { UserAccountService } from "../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../gen/x1410/v1/user_authentication_pb.ts";
import type { Status } from "./catalogue.ts";
import type { EntityRole } from "./target.ts";

/** What each entity serves. The ledger and the certification authority are outside X.1410's entities under test. */
export const servedBy: Readonly<Record<EntityRole, readonly DescService[]>> = {
  dssm: [
    UserAccountService,
    UserAuthenticationService,
    DataSharingPolicyService,
    DataSharingAccessService,
    InformationPublicationService,
    InformationSubscriptionService,
    TokenService,
    AccessPermissionService,
    SystemManagementService,
  ],
  kss: [KeyStorageService, TokenVerificationService],
  dss: [DataStorageService, DataDistributionService],
};

export interface MethodFacts {
  /** "KeyStorageService/GetKey" */
  readonly name: string;
  readonly clause: string;
  readonly component: string;
  readonly status: Status;
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
}

export function methodsOf(role: EntityRole): readonly MethodFacts[] {
  return servedBy[role].flatMap((service) => service.methods.map(factsOf));
}

function factsOf(method: DescMethod): MethodFacts {
  const { clause, steps, capabilities, status } = getOption(method, methodOption);
  const whole = getOption(method.parent, serviceOption);
  return {
    name: `${method.parent.name}/${method.name}`,
    clause,
    component: whole.component,
    // A mandatory method of an optional service is as optional as the service.
    status: weaker(statusOf(whole.status), statusOf(status)),
    steps,
    capabilities,
  };
}

function statusOf(status: StatusOption): Status {
  return status === StatusOption.OPTIONAL ? "O" : status === StatusOption.RECOMMENDED ? "R" : "M";
}

export function weaker(left: Status, right: Status): Status {
  const order: readonly Status[] = ["M", "R", "O"];
  return order.indexOf(left) > order.indexOf(right) ? left : right;
}
