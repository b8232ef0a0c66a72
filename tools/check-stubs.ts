// Proves that stubs come out of the exported tree in other languages: with the machine's own protoc, as Debian packages it, generates
// for Python, Java and C++ and lets each language compile and use what it got. What the machine lacks is not run, and said.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { createFileRegistry, fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { DESCRIPTOR_SET, exportProto } from "./proto-export.ts";
import { type Check, conclude, failure, notRun, type Outcome, PASSED, report, type Tally } from "./tally.ts";
import { must, run } from "./toolchain.ts";

// Debian's own interpreter: its packages are not seen by another Python that may come first in PATH.
const PYTHON = "/usr/bin/python3";
const PROTOBUF_JAR = "/usr/share/java/protobuf.jar";

const PYTHON_USE = `
from x1410.v1 import key_storage_pb2, key_storage_pb2_grpc
sent = key_storage_pb2.GetKeyRequest(access_token="t", key_id="0" * 32, request_id=bytes(16))
got = key_storage_pb2.GetKeyRequest.FromString(sent.SerializeToString())
assert got == sent and len(got.request_id) == 16
assert key_storage_pb2_grpc.KeyStorageServiceStub and key_storage_pb2_grpc.KeyStorageServiceServicer.GetKey
`;

const JAVA_USE = `
import com.google.protobuf.ByteString;
import x1410.v1.GetKeyRequest;
public class Use {
  public static void main(String[] args) throws Exception {
    GetKeyRequest sent = GetKeyRequest.newBuilder().setAccessToken("t").setRequestId(ByteString.copyFrom(new byte[16])).build();
    if (!GetKeyRequest.parseFrom(sent.toByteArray()).equals(sent)) throw new AssertionError();
  }
}
`;

const CPP_USE = `
#include "x1410/v1/key_storage.pb.h"
bool use() {
  x1410::v1::GetKeyRequest sent, got;
  sent.set_access_token("t");
  sent.set_request_id(std::string(16, 0));
  return got.ParseFromString(sent.SerializeAsString()) && got.request_id().size() == 16;
}
`;

/** The packages that are missing for `needs`, each a command or a file, as one reason; undefined where all are there. */
async function missing(needs: Record<string, string>): Promise<string | undefined> {
  const absent: string[] = [];
  for (const [need, debianPackage] of Object.entries(needs)) {
    const found = need.startsWith("/") ? existsSync(need) : (await run("which", [need])).code === 0;
    if (!found) absent.push(`${need} is missing (Debian: ${debianPackage})`);
  }
  return absent.length === 0 ? undefined : absent.join(", ");
}

/** The descriptors of a set by the names of their files, options included; as JSON, since two compilers may order options differently. */
function descriptors(path: string): Map<string, JsonValue> {
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(path));
  const registry = createFileRegistry(set);
  return new Map(set.file.map((each) => [each.name, toJson(FileDescriptorProtoSchema, each, { registry })]));
}

function checks(tree: string, files: readonly string[]): Check[] {
  const out = (name: string): string => {
    const folder = join(tree, "out", name);
    mkdirSync(folder, { recursive: true });
    return folder;
  };
  const protoc = (args: readonly string[]): Promise<string> => must("protoc", [...args, ...files], { cwd: tree });
  const plugin = async (name: string): Promise<string> => `protoc-gen-grpc=${(await must("which", [name])).trim()}`;
  const check = (name: string, needs: Record<string, string>, body: () => Promise<void>): Check => ({
    name,
    async run(): Promise<Outcome> {
      const reason = await missing({ protoc: "protobuf-compiler", ...needs });
      if (reason !== undefined) return notRun(reason);
      await body();
      return PASSED;
    },
  });
  return [
    check("protoc takes the tree as it takes the set", {}, async () => {
      const [fromTree, fromSet] = [join(out("tree"), "all.binpb"), join(out("set"), "all.binpb")];
      await protoc(["-I", ".", "--include_imports", "-o", fromTree]);
      await protoc([`--descriptor_set_in=${DESCRIPTOR_SET}`, "--include_imports", "-o", fromSet]);
      // protoc brings google/protobuf itself, in its own version.
      const [tree, set] = [descriptors(fromTree), descriptors(fromSet)];
      for (const name of files)
        if (!isDeepStrictEqual(tree.get(name), set.get(name)))
          throw new Error(`${name} differs between the tree and the set`);
    }),
    check(
      "Python stubs",
      {
        grpc_python_plugin: "protobuf-compiler-grpc",
        [PYTHON]: "python3",
        "/usr/lib/python3/dist-packages/google/protobuf": "python3-protobuf",
        "/usr/lib/python3/dist-packages/grpc": "python3-grpcio",
      },
      async () => {
        const folder = out("python");
        const grpc = `--plugin=${await plugin("grpc_python_plugin")}`;
        await protoc(["-I", ".", `--python_out=${folder}`, `--grpc_out=${folder}`, grpc]);
        const env = { PATH: process.env["PATH"], PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" };
        const modules = readdirSync(join(folder, "x1410/v1")).map((name) => `x1410.v1.${name.replace(".py", "")}`);
        await must(PYTHON, ["-c", `${modules.map((name) => `import ${name}`).join("\n")}${PYTHON_USE}`], { env });
      },
    ),
    check(
      "Java stubs",
      { javac: "default-jdk-headless", java: "default-jre-headless", [PROTOBUF_JAR]: "libprotobuf-java" },
      async () => {
        const [folder, classes] = [out("java"), out("classes")];
        await protoc(["-I", ".", `--java_out=${folder}`]);
        writeFileSync(join(folder, "Use.java"), JAVA_USE);
        const sources = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
          name.endsWith(".java"),
        );
        await must("javac", ["-nowarn", "-cp", PROTOBUF_JAR, "-d", classes, ...sources], { cwd: folder });
        await must("java", ["-cp", `${classes}:${PROTOBUF_JAR}`, "Use"]);
      },
    ),
    check(
      "C++ stubs",
      {
        "g++": "g++",
        grpc_cpp_plugin: "protobuf-compiler-grpc",
        "/usr/include/google/protobuf/message.h": "libprotobuf-dev",
      },
      async () => {
        const folder = out("cpp");
        const grpc = `--plugin=${await plugin("grpc_cpp_plugin")}`;
        await protoc(["-I", ".", `--cpp_out=${folder}`, `--grpc_out=${folder}`, grpc]);
        writeFileSync(join(folder, "use.cc"), CPP_USE);
        const sources = ["use.cc", "x1410/v1/key_storage.pb.cc", "x1410/v1/data_sharing_access.pb.cc"];
        await must("g++", ["-std=c++17", "-fsyntax-only", "-I", ".", ...sources], { cwd: folder });
      },
    ),
  ];
}

const tree = mkdtempSync(join(tmpdir(), "x1410-stubs-"));
const tallies: Tally[] = [];
try {
  const files = await exportProto(tree);
  for (const check of checks(tree, files)) tallies.push(await report(check));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  tallies.push(failure(""));
} finally {
  rmSync(tree, { recursive: true, force: true });
}
conclude(tallies);
