// Whether each package that was stored is still there (DSM3, clause 6.2.4). A consumer who finds out only at F4.17 has spent an access.
import type { PackageFiles } from "./package-files.ts";
import type { PackageTable } from "./package-table.ts";

/** A stored package that is lost or of another size; the message names it and says how to mend it. */
export class PackageDamage extends Error {
  override name = "PackageDamage";
}

/** Looks at names and sizes: the contents are verified against the provider's signature by whoever gets them. @throws PackageDamage */
export async function checkInventory(table: PackageTable, files: PackageFiles): Promise<void> {
  for await (const packageId of table.ids()) {
    const row = await table.get(packageId);
    if (row?.storedAt === undefined || row.deletedAt !== undefined || row.upload === undefined) continue;
    const { size } = row.upload;
    const found = await files.sizeOfWhole(packageId);
    if (found === size) continue;
    const path = files.wholePath(packageId);
    const what = found === undefined ? "is missing" : `has ${found} bytes instead of ${size}`;
    throw new PackageDamage(`the stored package ${path} ${what}; restore it from a copy`);
  }
}
