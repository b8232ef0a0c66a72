import { timestampDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { Peer } from "../communications/peer.ts";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  carol,
  chunks,
  clock,
  DAY,
  dssm,
  fetching,
  files,
  heldUpload,
  MIB,
  mallory,
  otherDssm,
  random,
  register,
  restart,
  serverForEachTest,
  status,
  storageAs,
  store,
  stored,
} from "./data-storage-server.fixture.ts";

serverForEachTest();

describe("RegisterPackage (F3.2.4)", () => {
  test("answers id, address and end, and the same again, also after a restart", async () => {
    const requestId = random(16);
    const readers = [carol.identity, mallory.identity];
    const [first, second] = await Promise.all([
      register({ requestId, readers }),
      register({ requestId, readers: readers.toReversed() }),
    ]);
    expect(first.packageId).toMatch(/^[0-9a-f]{32}$/);
    expect(first.packageAddress).toBe(`x1410://dss.one/packages/${first.packageId}`);
    expect(first.expiresAt && timestampDate(first.expiresAt).getTime()).toBe(clock.now().getTime() + DAY);
    expect(second).toEqual(first);
    await restart();
    expect(await register({ requestId, readers })).toEqual(first);
    expect((await register({ requestId, readers }, mallory)).packageId).not.toBe(first.packageId);
  });

  test("the same request id with other contents is refused", async () => {
    const requestId = random(16);
    await register({ requestId });
    for (const other of [{ managementIdentity: otherDssm.identity }, { readers: [carol.identity] }]) {
      expect(await refusalOf(register({ requestId, ...other }))).toBe("ALREADY_EXISTS REQUEST_ID_REUSED");
    }
  });

  test("a management outside the registry is refused", async () => {
    const unknown = register({ managementIdentity: "urn:x1410:entity:dssm:unknown" });
    expect(await refusalOf(unknown)).toBe("FAILED_PRECONDITION ENTITY_NOT_REGISTERED");
  });
});

describe("GetPackageStatus, SetPackageUse, DeletePackage", () => {
  test("the status is for owner and named management", async () => {
    const packageId = await stored(random(10));
    expect(await status(packageId, dssm)).toMatchObject({
      state: PackageState.STORED,
      ownerIdentity: alice.identity,
      managementIdentity: dssm.identity,
      committedOffset: 10n,
      inUse: false,
    });
    for (const stranger of [carol, otherDssm]) {
      expect(await refusalOf(status(packageId, stranger))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    }
  });

  test("a package in use stays; freed, it goes for good", async () => {
    const packageId = await stored(random(10));
    await storageAs(dssm).setPackageUse({ packageId, inUse: true });
    await storageAs(dssm).setPackageUse({ packageId, inUse: true });
    await restart();
    expect((await status(packageId)).inUse).toBe(true);
    const deletion = () => storageAs(alice).deletePackage({ packageId });
    expect(await refusalOf(deletion())).toBe("FAILED_PRECONDITION OBJECT_IN_USE");
    await storageAs(dssm).setPackageUse({ packageId, inUse: false });
    await deletion();
    await deletion();
    expect(await files()).toEqual([]);
    expect(await refusalOf(storageAs(mallory).deletePackage({ packageId }))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(status(packageId))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(fetching(packageId))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(store(packageId, random(10)))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
  });

  test("only the named management marks, and only what is stored", async () => {
    const { packageId } = await register();
    const mark = (peer: Peer) => storageAs(peer).setPackageUse({ packageId, inUse: true });
    expect(await refusalOf(mark(dssm))).toBe("FAILED_PRECONDITION PACKAGE_NOT_STORED");
    await store(packageId, random(10));
    expect(await refusalOf(mark(otherDssm))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(mark(alice))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
    expect(await refusalOf(storageAs(mallory).deletePackage({ packageId }))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    await mark(dssm);
  });

  test("deletion stops an upload under way", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const upload = heldUpload(packageId, content, [...chunks(content)].slice(0, 1));
    await upload.reached;
    await storageAs(alice).deletePackage({ packageId });
    expect(await refusalOf(upload.outcome)).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    expect(await files()).toEqual([]);
  });

  test("a stop of the server leaves an upload resumable", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const upload = heldUpload(packageId, content, [...chunks(content)].slice(0, 1));
    await upload.reached;
    await restart();
    await store(packageId, content, { offset: Number((await status(packageId)).committedOffset) });
    expect((await status(packageId)).state).toBe(PackageState.STORED);
  });
});
