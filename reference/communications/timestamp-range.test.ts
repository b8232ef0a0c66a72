import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { AccessPermissionSchema, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { GetKeyRequestSchema } from "../../gen/x1410/v1/key_storage_pb.ts";
import { invalidTimestamp } from "./timestamp-range.ts";

const permission = (expiration: { seconds?: bigint; nanos?: number }) => create(AccessPermissionSchema, { expiration });

test("times of the years 1 to 9999 are times", () => {
  for (const seconds of [-62_135_596_800n, 0n, 253_402_300_799n])
    expect(invalidTimestamp(AccessPermissionSchema, permission({ seconds, nanos: 999_999_999 }))).toBeUndefined();
  expect(invalidTimestamp(AccessPermissionSchema, permission(timestampFromDate(new Date())))).toBeUndefined();
  expect(invalidTimestamp(AccessPermissionSchema, create(AccessPermissionSchema))).toBeUndefined();
  expect(invalidTimestamp(GetKeyRequestSchema, create(GetKeyRequestSchema))).toBeUndefined();
});

test("others are named by their path", () => {
  const wrong = [{ seconds: 1n << 62n }, { seconds: -62_135_596_801n }, { nanos: -1 }, { nanos: 1_000_000_000 }];
  for (const expiration of wrong) {
    expect(invalidTimestamp(AccessPermissionSchema, permission(expiration))).toBe("expiration");
    const submission = create(PolicySubmissionSchema, { accessPermission: permission(expiration) });
    expect(invalidTimestamp(PolicySubmissionSchema, submission)).toBe("access_permission.expiration");
  }
});
