# Everything that is needed is Python 3.11+ and make: each target makes its own virtual environment, `make demo` a
# small one in .venv-demo (server and client), all others a full one in .venv (PyTorch included).
#
#   make demo    server up, a real mp4 streamed through the client, detections printed, server down
#   make test    format, lint, types, import contracts and all tests
#   make test-large    what `make test` leaves out: the published code's largest models, once more in torch
#   make search  the property tests with thousands of new examples
#   make train-everyday  the packaged default bundle: sources, training of three seeds, export, evaluation
#   make train-default   synthetic data, training, export and evaluation of the packaged synthetic bundle
#   make train-seeds     two seeds more of it, and three of a detector that sees single frames; hours
#   make page    builds the page that the server has at / (needs Node 20.19 or newer)
#   make lock    locks what the images are made of, with hashes; MAKE_LOCK=--upgrade takes newer versions
#   make compose-test    the CPU image and compose profile for real, in a Docker engine; not part of `make test`
#   make findings runs the scripts that show what other libraries do; needs a network, not part of `make test`
#   make figures measures everything in benchmarks/README.md on this machine; not part of `make test`
#   make release wheel and sdist in dist/, checked in empty environments, with SBOM and licences
#
# make demo VIDEO=my.mp4 takes another video than the packaged one, BUNDLE=folder another bundle, PORT=8123
# another port.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_VENV := .venv-demo
WORK := work
PORT ?= 8765
VIDEO ?=
BUNDLE ?=
SOURCES := training export server client tests docs docker benchmarks findings

.PHONY: demo train-everyday train-default train-seeds page screenshot lock compose-test release test format lint types contracts tests test-large search clean api-docs
.DELETE_ON_ERROR:

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "selsa needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	touch $@

$(DEMO_VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "selsa needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[server]'
	touch $@

# The main job ---------------------------------------------------------------------------------------------

demo: $(DEMO_VENV)/.installed $(VIDEO)
	PATH="$(abspath $(DEMO_VENV)/bin):$$PATH" sh docs/demo.sh "$(PORT)" "$(VIDEO)" "$(BUNDLE)"

# The packaged default bundle, by one process per core of two. `make train-default` goes on where it was cut
# off; SEED=1 is another model. On a GPU: selsa train tiny --set batch=8 --set pretraining.batch=128 ...

SEED ?= 0
# What its report measures. PRECISION=fp32 where the processor has no bfloat16, or OpenVINO is not installed.
PRECISION ?= fp32,bf16
SYNTHETIC := $(WORK)/synthetic
RUN := $(WORK)/runs/tiny-$(SEED)
SYNTHETIC_BUNDLE := server/selsa_bundle/synthetic
RECORD := docs/default-model

$(SYNTHETIC)/synthesis.json: | $(VENV)/.installed
	$(BIN)/selsa synthesize $(SYNTHETIC) --seed 0

train-default: $(SYNTHETIC)/synthesis.json
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 --no-python $(BIN)/selsa train tiny \
		--data $(SYNTHETIC) -o $(RUN) --seed $(SEED) --amp auto --threads 1 --workers 1 --resume
	$(BIN)/python benchmarks/synthesize_film.py server/selsa_bundle/sample.mp4 --number 100004 --overwrite
	$(BIN)/selsa export $(RUN)/checkpoint -o $(SYNTHETIC_BUNDLE) --frames server/selsa_bundle/sample.mp4 --native none \
		--precision $(PRECISION) --calibrate server/selsa_bundle/sample.mp4 --data $(SYNTHETIC) --overwrite \
		--title 'Synthetic sprites' \
		--description 'Knows drawn sprites of the 30 classes of ImageNet VID on synthetic backgrounds. For tests and for trying the software.' \
		--warning 'Not for real footage: it knows drawn sprites only, so its scores on real video mean nothing.'
	$(BIN)/selsa evaluate $(SYNTHETIC_BUNDLE) --data $(SYNTHETIC) --write-report
	$(BIN)/selsa evaluate $(RUN) --data $(SYNTHETIC) --json $(RECORD)/checkpoint.json \
		--curve reference_frames --curve proposals --plot $(RECORD)/curves.png
	cp $(RUN)/log.jsonl $(RUN)/recipe.json $(SYNTHETIC)/synthesis.json $(RECORD)/

# The packaged everyday bundle: three seeds over one cache of frozen features, half an hour on two cores at most.
# QUALITY="--video clip.mp4 --truth gt.txt" also measures them on labelled persons.
SOURCES_EVERYDAY := $(WORK)/everyday
EVERYDAY := server/selsa_bundle/everyday
EVERYDAY_SEEDS := 0,1,2
QUALITY ?=

train-everyday: $(VENV)/.installed
	$(BIN)/selsa fetch-everyday $(SOURCES_EVERYDAY)
	$(BIN)/selsa train-everyday $(SOURCES_EVERYDAY) -o $(WORK)/runs --clips training/everyday-clips \
		--seeds $(EVERYDAY_SEEDS) --overwrite
	$(BIN)/selsa export $(WORK)/runs/everyday-0/checkpoint -o $(EVERYDAY) --native none --overwrite \
		--frames server/selsa_bundle/everyday.mp4 --title 'Everyday objects' \
		--description 'Detects the 80 classes of COCO (people, vehicles, animals, household objects) in ordinary video. Small and fast: for trying the software on your own footage.'
	test -z "$(QUALITY)" || $(BIN)/python benchmarks/everyday_quality.py $(QUALITY) \
		--json docs/everyday-model/quality.json $(WORK)/runs/everyday-?

# The synthetic model and what it is compared with, for three seeds; tiny-0 is what train-default makes. Goes on where it
# was cut off.
SEED_RUNS := tiny-1 tiny-2 tiny-single-frame-0 tiny-single-frame-1 tiny-single-frame-2

train-seeds: $(SYNTHETIC)/synthesis.json
	set -e; for each in $(SEED_RUNS); do \
		run=$(WORK)/runs/$$each; record=$(RECORD)/seeds/$$each; \
		OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 --no-python \
			$(BIN)/selsa train $${each%-*} --data $(SYNTHETIC) -o $$run --seed $${each##*-} \
			--amp auto --threads 1 --workers 1 --resume; \
		$(BIN)/selsa evaluate $$run --data $(SYNTHETIC) --json $$record.json; \
		cp $$run/log.jsonl $$record.log.jsonl; \
	done
	$(BIN)/python docs/seeds_page.py

# Swagger UI at /docs of the server: the files of the pinned npm package, checked against SHA256SUMS ----------
API_DOCS := server/selsa_server/api/swagger_ui
SWAGGER_UI := 5.35.0

api-docs:
	mkdir -p $(WORK)/swagger-ui
	cd $(WORK)/swagger-ui && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) && tar xzf swagger-ui-dist-$(SWAGGER_UI).tgz
	cd $(WORK)/swagger-ui/package && cp swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css LICENSE NOTICE \
		$(abspath $(API_DOCS))
	cd $(API_DOCS) && sha256sum --check SHA256SUMS

# The page at / of the server ------------------------------------------------------------------------------

PAGE := server/page

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --no-audit --no-fund

page: $(PAGE)/node_modules/.package-lock.json
	cd $(PAGE) && npm run build

screenshot: $(VENV)/.installed
	SELSA_SCREENSHOT=$(abspath docs/page.png) $(BIN)/pytest tests/page/test_page_video.py -k documentation

# Images and releases --------------------------------------------------------------------------------------

RELEASE_VENV := $(WORK)/release/venv
RELEASE_BIN := $(RELEASE_VENV)/bin
# The extras of gigabytes are checked with what is installed here already. RELEASE='--final' for the real one.
RELEASE ?=

$(RELEASE_VENV)/.installed: docker/locks/release.txt
	$(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

lock: $(RELEASE_VENV)/.installed
	MAKE_LOCK="$(MAKE_LOCK)" sh docker/lock.sh $(RELEASE_BIN)/uv

compose-test: $(VENV)/.installed
	$(BIN)/python -u tests/docker/compose_run.py

release: $(RELEASE_VENV)/.installed $(VENV)/.installed
	$(RELEASE_BIN)/python -u tests/release/release.py \
		--reuse training=$(abspath $(BIN)/python) --reuse export=$(abspath $(BIN)/python) $(RELEASE)

# Findings: what the libraries of this field do, without this project ----------------------------------------
#
# FINDING=name for one of them. FINDINGS_VENV=folder keeps one environment for all, instead of one for each.

FINDING ?=

.PHONY: findings
findings:
	@$(PYTHON) findings/run.py $(FINDING)

# Figures: benchmarks/README.md and its pictures, measured on this machine -----------------------------------
#
# It takes long: the models are made first, once, and nothing else should run meanwhile. One alone:
# make figures-memory tables. Fewer rounds: ROUNDS=3

FIGURES := benchmarks/figures
ROUNDS ?= 5
MODELS := $(foreach name,r18 r50 r101 x101,$(WORK)/bench/$(name).bundle)
INT8 := $(WORK)/bench/r50-int8.bundle
ALL_FIGURES := default r50 r50-profile models pytorch memory waiting

.PHONY: figures tables $(addprefix figures-,$(ALL_FIGURES))

# One after the other: `make -j` must not measure two at a time.
figures: $(VENV)/.installed
	@set -e; for each in $(ALL_FIGURES); do $(MAKE) --no-print-directory figures-$$each; done
	@$(MAKE) --no-print-directory tables

tables: $(VENV)/.installed
	$(BIN)/python benchmarks/readme_tables.py

$(WORK)/bench/%.bundle: | $(VENV)/.installed
	@mkdir -p $(WORK)/bench
	test -d $(WORK)/bench/$* || $(BIN)/selsa init $*-dc5 -o $(WORK)/bench/$*
	$(BIN)/selsa export $(WORK)/bench/$* -o $@ --native none

$(INT8): | $(WORK)/bench/r50.bundle
	$(BIN)/selsa quantize $(WORK)/bench/r50.bundle -o $@ --precision fp32,bf16,int8 --calibrate server/selsa_bundle/sample.mp4

figures-default: $(VENV)/.installed
	$(BIN)/selsa bench --provider cpu --precision fp32 --frames 48 --clients 1,2,4,8,16 --rounds $(ROUNDS) \
		--json $(FIGURES)/default.json
	$(BIN)/python benchmarks/profile_bench.py $(FIGURES)/default.json
	$(BIN)/python benchmarks/plot_bench.py $(FIGURES)/default.json $(FIGURES)/default.png

figures-r50: $(INT8)
	$(BIN)/selsa bench --bundle $(INT8) --provider cpu,openvino --precision fp32,bf16,int8 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/r50.json
	$(BIN)/python benchmarks/plot_bench.py $(FIGURES)/r50.json $(FIGURES)/r50.png

figures-r50-profile: $(WORK)/bench/r50.bundle
	$(BIN)/selsa bench --bundle $(WORK)/bench/r50.bundle --frames 16 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/r50-profile.json
	$(BIN)/python benchmarks/profile_bench.py $(FIGURES)/r50-profile.json --bundle $(WORK)/bench/r50.bundle

figures-models: $(MODELS)
	$(BIN)/selsa bench $(addprefix --bundle ,server/selsa_bundle/synthetic $(MODELS)) --frames 16 \
		--provider cpu --precision fp32 --phases engines,pipeline \
		--rounds $(ROUNDS) --json $(FIGURES)/models.json
	$(BIN)/python benchmarks/plot_bench.py $(FIGURES)/models.json $(FIGURES)/models.png

figures-pytorch: $(INT8)
	$(BIN)/python benchmarks/beside_pytorch.py --checkpoint $(WORK)/bench/r50 --bundle $(INT8) \
		--rounds $(ROUNDS) --json $(FIGURES)/beside-pytorch.json --plot $(FIGURES)/beside-pytorch.png

figures-memory: $(VENV)/.installed
	$(BIN)/python benchmarks/memory_of_length.py \
		--json $(FIGURES)/memory-of-length.json --plot $(FIGURES)/memory-of-length.png

figures-waiting: $(VENV)/.installed
	$(BIN)/python benchmarks/waiting_threads.py --rounds $(ROUNDS) --json $(FIGURES)/waiting-threads.json

# The checks, the same here and in CI ----------------------------------------------------------------------

test: format lint contracts types-and-tests

# Types take minutes and need one core at the most, so they are looked at while the tests run. What is said of
# them comes at the end, and either failing fails.
types-and-tests: $(VENV)/.installed
	@mkdir -p $(WORK)
	@$(BIN)/mypy > $(WORK)/types.txt 2>&1 & types=$$!; \
	failed=0; \
	$(MAKE) --no-print-directory tests || failed=1; \
	wait $$types || failed=1; \
	echo "$(BIN)/mypy"; cat $(WORK)/types.txt; \
	exit $$failed

format: $(VENV)/.installed
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.installed
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.installed
	$(BIN)/mypy

contracts: $(VENV)/.installed
	$(BIN)/lint-imports

# Several processes share the tests, so torch gets one thread in each. Tests marked `alone` measure time and
# run after them.
tests: $(VENV)/.installed
	@failed=0; \
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not alone and not large' -n logical --maxprocesses 4 \
		--no-loadscope-reorder --max-worker-restart 0 || failed=1; \
	$(BIN)/pytest -m alone || failed=1; \
	exit $$failed

test-large: $(VENV)/.installed
	$(BIN)/pytest -m large

# The property tests with thousands of examples that are new each time, where `make test` repeats the same ones.
search: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --hypothesis-profile search $$(grep -rl '^@given' tests)

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(WORK)
