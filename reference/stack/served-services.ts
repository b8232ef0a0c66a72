// What each kind of entity serves, as configuration may name it: every entity knows it of all of them.
import type { DescService } from "@bufbuild/protobuf";
import { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { LedgerService, SmartContractService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { TokenVerificationService } from "../../gen/x1410/v1/token_verification_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import type { ServerKind } from "./plan.ts";

export const servedServices: Readonly<Record<ServerKind, readonly DescService[]>> = {
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
  ledger: [LedgerService, SmartContractService, SystemManagementService],
  ca: [CertificationAuthorityService],
};
