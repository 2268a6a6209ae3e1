"""Where the world is touched: the Kubernetes API and the routers' status pages.

Adapters read and write and translate errors into ours; they decide nothing. Building manifests, comparing a state
with the wanted one and choosing what to apply must not be here.
"""
