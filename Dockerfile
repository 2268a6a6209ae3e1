# The three images: docker build --target server|operator|router .
#
# Each holds what it runs and nothing else: Debian's libraries and Python unpacked from its packages, the Python packages
# of locks/ (every file by its hash), our code. No package manager, no compiler, no pip; a shell only in the router,
# whose drain needs one. `hack/cluster images` builds them all; the secrets pip, apt and ca carry that machine's
# settings into the build and are not needed elsewhere.

FROM debian:trixie-slim AS build
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/zz-build \
    apt-get update -q \
 && apt-get install -qy --no-install-recommends python3-venv \
 && python3 -m venv /venv
COPY hack/image/ /usr/local/bin/
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/zz-build \
    unpack /root-libraries base-files ca-certificates libc6 libgcc-s1 libstdc++6 zlib1g \
 && cat /root-libraries/usr/share/ca-certificates/mozilla/*.crt > /root-libraries/etc/ssl/certs/ca-certificates.crt \
 && echo 'root:x:0:0:root:/root:/sbin/nologin' > /root-libraries/etc/passwd \
 && echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' >> /root-libraries/etc/passwd \
 && printf 'root:x:0:\nnonroot:x:65532:\n' > /root-libraries/etc/group
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/zz-build \
    unpack /root-shell bash libtinfo6 && cp /usr/bin/cat /usr/bin/sleep /root-shell/usr/bin/
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/zz-build \
    unpack /root-python python3.13-minimal libpython3.13-minimal libpython3.13-stdlib \
      libbz2-1.0 libexpat1 libffi8 liblzma5 libssl3t64 libzstd1 openssl-provider-legacy \
 && ln -s python3.13 /root-python/usr/bin/python3 \
 && ln -s python3.13 /root-python/usr/bin/python \
 && cd /root-python/usr/lib/python3.13 \
 && rm -rf ensurepip idlelib pydoc_data test tkinter \
 && compile . /usr/lib/python3.13

FROM build AS operator-packages
COPY locks/operator.txt /locks/
# kubernetes.aio is a second client, for asyncio; as large as the one that is used.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    /venv/bin/pip install -q --no-compile --no-deps --only-binary :all: --require-hashes -r /locks/operator.txt \
      --target /site \
 && rm -rf /site/bin /site/kubernetes/aio \
 && compile /site /usr/local/lib/python3.13/dist-packages

FROM build AS server-packages
COPY locks/server.txt /locks/
# libonnxruntime.so is for C programs: the Python module has all of it in itself. Of pyarrow, batch pods need CSV, JSON,
# Parquet and what computes on columns; the rest of it (60 MB) are other formats, clients of stores and sources.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    /venv/bin/pip install -q --no-compile --no-deps --only-binary :all: --require-hashes -r /locks/server.txt \
      --target /site \
 && cd /site && rm -rf bin onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/tools \
      onnxruntime/transformers simdjson/simdjson.cpp simdjson/simdjson.h numpy/_core/include numpy/_core/lib \
 && cd pyarrow && rm -rf include includes src *.pxd *.pxi *.pyx libarrow_flight* libarrow_python_flight* libarrow_s3* \
      libarrow_python.so libarrow_python.so.*.*.* libarrow_python_parquet_encryption.so \
      libarrow_python_parquet_encryption.so.*.*.* _acero* _azurefs* _dataset* _feather* _flight* _gcsfs* _hdfs* _orc* \
      _pyarrow_cpp_tests* _s3fs* _substrait* \
 && cd /site && find . -type d -name tests -prune -exec rm -r {} + \
 && compile /site /usr/local/lib/python3.13/dist-packages

FROM build AS router-packages
COPY locks/router.txt /locks/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    /venv/bin/pip install -q --no-compile --no-deps --only-binary :all: --require-hashes -r /locks/router.txt \
      --target /site

FROM build AS operator-code
COPY operator/modelendpoint_operator /site/modelendpoint_operator
RUN compile /site /usr/local/lib/python3.13/dist-packages

FROM build AS server-code
COPY server/modelendpoint_server /site/modelendpoint_server
RUN compile /site /usr/local/lib/python3.13/dist-packages

FROM scratch AS libraries
COPY --from=build /root-libraries /
ENV PATH=/usr/local/bin:/usr/bin
WORKDIR /tmp
USER 65532:65532
ARG VERSION=unknown
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor=ModelEndpoint \
      org.opencontainers.image.version=$VERSION

FROM libraries AS python
COPY --from=build /root-python /
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM libraries AS router
COPY --from=build /root-shell /
COPY --from=router-packages /site/envoy/_bin/envoy /usr/local/bin/envoy
LABEL org.opencontainers.image.title=router \
      org.opencontainers.image.description="Routes the requests of a ModelEndpoint to its revisions (Envoy)"
ENTRYPOINT ["envoy"]
CMD ["-c", "/etc/envoy/bootstrap.json"]

FROM python AS operator
COPY --from=operator-packages /site /usr/local/lib/python3.13/dist-packages
COPY --from=operator-code /site /usr/local/lib/python3.13/dist-packages
LABEL org.opencontainers.image.title=operator \
      org.opencontainers.image.description="Keeps ModelEndpoints true"
ENTRYPOINT ["python3", "-m", "modelendpoint_operator"]

FROM python AS server
COPY --from=server-packages /site /usr/local/lib/python3.13/dist-packages
COPY --from=server-code /site /usr/local/lib/python3.13/dist-packages
LABEL org.opencontainers.image.title=server \
      org.opencontainers.image.description="Serves any ONNX model, loaded by URI"
ENTRYPOINT ["python3", "-m", "modelendpoint_server"]
