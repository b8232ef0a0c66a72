// A node's database as an audit opens it. LevelDB writes wherever it opens a database: it begins a new log and removes what it has no use for,
// after which the node itself would take its folder for damaged. So it opens a stand-in, and nothing in the node's folder changes.
import { constants } from "node:fs";
import { access, copyFile, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Level } from "level";

/** A process has the database open. */
export class DatabaseInUse extends Error {
  override readonly name = "DatabaseInUse";
}

/** Files that nobody changes once they are written, or that an audit only reads: of any size, and never copied. */
const LINKED = /\.(?:ldb|sst)$|^blocks$/;
/** LevelDB's own lock and its diary belong to whoever opens. */
const LEFT_OUT = /^(?:LOCK|LOG|LOG\.old)$/;

export class DatabaseView {
  /** Folder to open; whatever is written there is lost. */
  readonly path: string;
  readonly #folder: string;
  readonly #locks: Level[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    this.path = join(folder, "db");
  }

  /**
   * Takes the locks of the database and of the folder around it, which hold until `remove`.
   * @throws DatabaseInUse, or the file system's error
   */
  static async of(database: string): Promise<DatabaseView> {
    const view = new DatabaseView(await mkdtemp(join(tmpdir(), "x1410-audit-")));
    try {
      for (const locked of [database, join(dirname(database), "lock")]) await view.#lock(locked);
      return view;
    } catch (cause) {
      await view.remove();
      throw cause;
    }
  }

  /** Puts the stand-in together. Until then the database may be looked at, locked. */
  async fill(database: string): Promise<void> {
    await mkdir(this.path);
    for (const name of await readdir(database)) {
      const [from, to] = [join(database, name), join(this.path, name)];
      if (LINKED.test(name)) await symlink(from, to);
      else if (!LEFT_OUT.test(name)) await copyFile(from, to);
    }
  }

  async remove(): Promise<void> {
    for (const lock of this.#locks) await lock.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The operating system knows a lock by the file itself: an empty database whose file LOCK is the other's holds the other's lock. */
  async #lock(database: string): Promise<void> {
    const file = join(database, "LOCK");
    try {
      await access(file, constants.W_OK);
    } catch (cause) {
      // LevelDB makes the file before anything else: where there is none, nobody has opened it.
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return;
      throw cause;
    }
    const folder = join(this.#folder, `lock-${this.#locks.length}`);
    await mkdir(folder);
    await symlink(file, join(folder, "LOCK"));
    const lock = new Level(folder);
    this.#locks.push(lock);
    try {
      await lock.open();
    } catch (cause) {
      const why = cause instanceof Error ? cause.cause : undefined;
      if (why instanceof Error && "code" in why && why.code === "LEVEL_LOCKED") throw new DatabaseInUse(database);
      throw cause;
    }
  }
}
