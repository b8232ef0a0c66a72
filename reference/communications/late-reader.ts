// Node's own iteration of an HTTP/2 stream takes a response that was complete before its reader came for one that was cut short: since
// Node 24 the end of a stream is judged when the iteration begins, and an HTTP/2 stream counts as closed while its data is still unread.
// A busy client would see calls fail with "Premature close" that the server has answered.
import { type ClientHttp2Stream, constants } from "node:http2";
import { PassThrough } from "node:stream";

/** Lets `for await` read the stream however late it begins; errors and back-pressure are those of the stream. */
export function readableWhenLate<S extends ClientHttp2Stream>(stream: S): S {
  const body = new PassThrough({
    // A lost connection ends the stream like a response, and tells it by its code alone.
    flush: (done) => done(stream.rstCode ? cutShort(stream.rstCode) : null),
  });
  // Not by `pipeline`: it destroys the stream when the response is over, and where the request is not, Node 24 then writes empty frames
  // without end.
  stream.pipe(body);
  stream.once("error", (cause) => body.destroy(cause));
  stream.once("close", () => {
    if (!stream.readableEnded) body.destroy(cutShort(stream.rstCode ?? constants.NGHTTP2_NO_ERROR));
  });
  body.once("close", () => {
    if (!stream.readableEnded) stream.close(constants.NGHTTP2_CANCEL);
  });
  // Whoever reads the body learns of errors there; nobody else needs to.
  body.on("error", () => undefined);
  stream[Symbol.asyncIterator] = () => body[Symbol.asyncIterator]();
  return stream;
}

function cutShort(code: number): Error {
  return new Error(`the response was cut short (HTTP/2 error code ${code})`);
}
