"""Trains small models with scikit-learn, XGBoost and LightGBM, exports them to ONNX, and notes what ONNX Runtime answers.

    python3.11 -m venv VENV && VENV/bin/pip install -r tests/onnx/requirements-sklearn.txt
    VENV/bin/python tests/onnx/export_sklearn.py OUT [NAME ...]
    EKIDEN_ONNX_MODELS=OUT cargo test --lib onnx::tests::models -- --nocapture

Each model is a folder: OUT/NAME/model.onnx, and for batches of 1, 3 and 64 rows the folders OUT/NAME/1, 3 and 64 with
input_0.npy, input_1.npy, ... and output_0.npy, output_1.npy, ... in the order of the file's inputs and outputs (those that
initializers give a value are left out). Strings are in .json instead: a list of rows. A classifier's second output is the
matrix of probabilities.

The data is made up and the seeds are fixed. With names, only those models are made; the ones in tests/onnx/models/ are
made by: export_sklearn.py tests/onnx/models --committed
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from lightgbm import LGBMClassifier, LGBMRegressor
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as MltoolsFloat
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

BATCHES = (1, 3, 64)
FEATURES = 6
OPSET = {"": 17, "ai.onnx.ml": 3}
SEED = 0

MADE = {}
COMMITTED = (
    "columns_of_text",
    "gradient_boosting_two",
    "k_neighbors_regressor",
    "label_encoder_tensors",
    "lightgbm_categories",
    "lightgbm_multiclass",
    "logistic_text",
    "mapped",
    "mlp",
    "newer_trees_double",
    "one_hot_ints",
    "pca",
    "polynomial",
    "random_forest",
    "svc_rbf_probability",
    "svr_poly",
    "tree_ordered",
    "tree_min",
    "tree_two_shares",
    "xgboost_missing",
)


def model(make):
    """A function that returns an ONNX model and, for a number of rows, its inputs."""
    MADE[make.__name__] = make
    return make


def several(**made):
    MADE.update(made)


def classes(count, seed=SEED):
    return make_classification(
        n_samples=240, n_features=FEATURES, n_informative=4, n_classes=count, n_clusters_per_class=1, random_state=seed
    )


def numbers(targets=1):
    return make_regression(n_samples=240, n_features=FEATURES, n_targets=targets, noise=3.0, random_state=SEED)


def rows(scale=1.0, seed=1):
    """Rows that the models were not trained on."""

    def inputs(count):
        return [(np.random.default_rng(seed).normal(size=(count, FEATURES)) * scale).astype(np.float32)]

    return inputs


def holes(count):
    """Rows of which some numbers are missing."""
    [x] = rows()(count)
    x[np.random.default_rng(2).random(x.shape) < 0.2] = np.nan
    return [x]


def export(estimator, initial=None, opset=OPSET, options=None):
    initial = initial or [("x", FloatTensorType([None, FEATURES]))]
    options = options or {}
    try:
        # Probabilities as a matrix; what is no classifier has no such option.
        chosen = {id(estimator): {"zipmap": False, **options}}
        return to_onnx(estimator, initial_types=initial, target_opset=opset, options=chosen)
    except NameError:
        chosen = {id(estimator): options} if options else None
        return to_onnx(estimator, initial_types=initial, target_opset=opset, options=chosen)


def classifier(estimator, count=3, names=None, inputs=None, change=None, **options):
    def make():
        x, y = classes(count)
        x = change(x) if change else x
        y = np.array(names)[y] if names else y
        return export(estimator.fit(x.astype(np.float32), y), **options), inputs or rows()

    return make


def regressor(estimator, targets=1, inputs=None, change=None, **options):
    def make():
        x, y = numbers(targets)
        x = change(x) if change else x
        return export(estimator.fit(x.astype(np.float32), y), **options), inputs or rows()

    return make


def punched(x):
    """With numbers missing."""
    x = x.copy()
    x[np.random.default_rng(3).random(x.shape) < 0.2] = np.nan
    return x


several(
    linear=regressor(LinearRegression()),
    linear_targets=regressor(LinearRegression(), targets=3),
    ridge=regressor(Ridge()),
    elastic_net=regressor(ElasticNet()),
    poisson=classifier(PoissonRegressor(), 3),
    logistic=classifier(LogisticRegression(), 2),
    logistic_multinomial=classifier(LogisticRegression(), 4),
    logistic_rest=classifier(OneVsRestClassifier(LogisticRegression()), 3),
    logistic_text=classifier(LogisticRegression(), 3, ["low", "mid", "high"]),
    logistic_two_texts=classifier(LogisticRegression(), 2, ["no", "yes"]),
    logistic_scores=classifier(
        LogisticRegression(), 3, options={"raw_scores": True}
    ),
    perceptron=classifier(Perceptron(), 3),
    ridge_classifier=classifier(RidgeClassifier(), 3),
    sgd=classifier(SGDClassifier(loss="log_loss", random_state=SEED), 3),
    linear_svc=classifier(LinearSVC(), 3),
    scaled_logistic=classifier(make_pipeline(StandardScaler(), LogisticRegression()), 2),
    min_max=regressor(make_pipeline(MinMaxScaler(clip=True), LinearRegression())),
    max_abs=regressor(make_pipeline(MaxAbsScaler(), LinearRegression())),
    robust=regressor(make_pipeline(RobustScaler(), LinearRegression())),
    imputed=regressor(make_pipeline(SimpleImputer(), LinearRegression()), inputs=holes, change=punched),
    imputed_number=regressor(
        make_pipeline(SimpleImputer(missing_values=0.0, strategy="median"), LinearRegression()),
        inputs=lambda count: [np.round(rows()(count)[0])],
    ),
    polynomial=regressor(make_pipeline(PolynomialFeatures(2), Ridge())),
    pca=classifier(make_pipeline(StandardScaler(), PCA(3), LogisticRegression()), 3),
    svd=classifier(make_pipeline(TruncatedSVD(3), LogisticRegression()), 3),
    normalized_l2=regressor(make_pipeline(Normalizer(), Ridge())),
    normalized_l1=regressor(make_pipeline(Normalizer("l1"), Ridge())),
    normalized_max=regressor(make_pipeline(Normalizer("max"), Ridge())),
    binarized=regressor(make_pipeline(Binarizer(threshold=0.1), Ridge())),
    bins=regressor(make_pipeline(KBinsDiscretizer(4, encode="onehot-dense"), Ridge())),
    selected=classifier(make_pipeline(SelectKBest(k=3), LogisticRegression()), 3),
    decision_tree=classifier(DecisionTreeClassifier(max_depth=5, random_state=SEED), 3),
    decision_tree_two=classifier(DecisionTreeClassifier(max_depth=5, random_state=SEED), 2),
    decision_tree_regressor=regressor(DecisionTreeRegressor(max_depth=5, random_state=SEED)),
    decision_tree_targets=regressor(DecisionTreeRegressor(max_depth=5, random_state=SEED), targets=2),
    random_forest=classifier(RandomForestClassifier(8, max_depth=4, random_state=SEED), 3, ["a", "b", "c"]),
    random_forest_two=classifier(RandomForestClassifier(20, random_state=SEED), 2),
    random_forest_large=classifier(RandomForestClassifier(100, random_state=SEED), 4),
    random_forest_regressor=regressor(RandomForestRegressor(20, random_state=SEED)),
    extra_trees=classifier(ExtraTreesClassifier(20, random_state=SEED), 3),
    extra_trees_regressor=regressor(ExtraTreesRegressor(20, random_state=SEED), targets=2),
    gradient_boosting=classifier(GradientBoostingClassifier(n_estimators=20, random_state=SEED), 3),
    gradient_boosting_two=classifier(GradientBoostingClassifier(n_estimators=20, random_state=SEED), 2),
    gradient_boosting_regressor=regressor(GradientBoostingRegressor(n_estimators=20, random_state=SEED)),
    hist_gradient_boosting=classifier(
        HistGradientBoostingClassifier(max_iter=15, random_state=SEED), 3, inputs=holes, change=punched
    ),
    hist_gradient_boosting_two=classifier(HistGradientBoostingClassifier(max_iter=15, random_state=SEED), 2),
    hist_gradient_boosting_regressor=regressor(
        HistGradientBoostingRegressor(max_iter=15, random_state=SEED), inputs=holes, change=punched
    ),
    isolation_forest=classifier(IsolationForest(n_estimators=20, random_state=SEED), 2),
    ada_boost=classifier(AdaBoostClassifier(n_estimators=10, random_state=SEED), 3),
    bagging=classifier(BaggingClassifier(LogisticRegression(), n_estimators=5, random_state=SEED), 3),
    voting=classifier(
        VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False), 3
    ),
    svc_rbf=classifier(SVC(), 3),
    svc_rbf_two=classifier(SVC(), 2),
    svc_rbf_probability=classifier(SVC(probability=True, random_state=SEED), 3, ["x", "y", "z"]),
    svc_two_probability=classifier(SVC(probability=True, random_state=SEED), 2),
    svc_linear=classifier(SVC(kernel="linear", probability=True, random_state=SEED), 4),
    svc_poly=classifier(SVC(kernel="poly", probability=True, random_state=SEED), 3),
    svc_sigmoid=classifier(SVC(kernel="sigmoid", probability=True, random_state=SEED), 3),
    nu_svc=classifier(NuSVC(probability=True, random_state=SEED), 3),
    svr_rbf=regressor(SVR(C=50.0)),
    svr_linear=regressor(SVR(kernel="linear")),
    svr_poly=regressor(SVR(kernel="poly")),
    svr_sigmoid=regressor(SVR(kernel="sigmoid")),
    one_class_svm=classifier(OneClassSVM(), 2),
    k_neighbors=classifier(KNeighborsClassifier(5), 3),
    k_neighbors_weighted=classifier(KNeighborsClassifier(5, weights="distance"), 3),
    k_neighbors_regressor=regressor(KNeighborsRegressor(5)),
    gaussian_nb=classifier(GaussianNB(), 3),
    bernoulli_nb=classifier(BernoulliNB(), 3),
    multinomial_nb=classifier(MultinomialNB(), 3, change=np.abs, inputs=lambda count: [np.abs(rows()(count)[0])]),
    mlp=classifier(MLPClassifier((16, 8), max_iter=300, random_state=SEED), 3),
    mlp_two=classifier(MLPClassifier((16,), max_iter=300, random_state=SEED), 2),
    mlp_regressor=regressor(MLPRegressor((16,), activation="tanh", max_iter=300, random_state=SEED)),
    k_means=classifier(KMeans(4, n_init=3, random_state=SEED), 3),
    gaussian_process=regressor(GaussianProcessRegressor(alpha=1.0)),
)


def whole(count, seed=4):
    return [np.random.default_rng(seed).integers(0, 4, size=(count, 3)).astype(np.int64)]


@model
def one_hot_ints():
    [x] = whole(240, 5)
    encoder = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    return export(encoder.fit(x, x.sum(axis=1) % 3), [("x", Int64TensorType([None, 3]))]), whole


@model
def ordinal_ints():
    [x] = whole(240, 5)
    encoder = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier(max_depth=4, random_state=SEED))
    return export(encoder.fit(x, x.sum(axis=1) % 3), [("x", Int64TensorType([None, 3]))]), whole


@model
def columns_of_text():
    """Numbers in one input, two columns of strings in others: encoded side by side."""
    import pandas

    def frame(count, seed):
        rng = np.random.default_rng(seed)
        return pandas.DataFrame(
            {
                "age": rng.normal(40, 10, count).astype(np.float32),
                "town": rng.choice(["Rome", "Paris", "Oslo"], count),
                "plan": rng.choice(["free", "paid"], count),
            }
        )

    data = frame(240, 6)
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["age"]), ("texts", OneHotEncoder(handle_unknown="ignore"), ["town", "plan"])]
    )
    pipeline = make_pipeline(columns, LogisticRegression())
    pipeline.fit(data, (data["age"] > 40) ^ (data["town"] == "Oslo"))
    initial = [
        ("age", FloatTensorType([None, 1])),
        ("town", StringTensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
    ]

    def inputs(count):
        data = frame(count, 7)
        return [data[["age"]].to_numpy(), data[["town"]].to_numpy(object), data[["plan"]].to_numpy(object)]

    return export(pipeline, initial), inputs


@model
def mapped():
    """A classifier as it is exported by default: its probabilities become maps at the end."""
    x, y = classes(3)
    estimator = LogisticRegression().fit(x.astype(np.float32), np.array(["a", "b", "c"])[y])
    return to_onnx(estimator, initial_types=[("x", FloatTensorType([None, FEATURES]))], target_opset=OPSET), rows()


def doubles(estimator, count=None):
    """In double precision, as models are exported whose training data is."""

    def make():
        x, y = classes(count) if count else numbers()
        made = export(estimator.fit(x, y), [("x", DoubleTensorType([None, FEATURES]))])
        return made, lambda count: [rows()(count)[0].astype(np.float64)]

    return make


@model
def lightgbm_categories():
    """Two of the features are categories: the trees ask for equality."""

    def inputs(count, seed=12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(count, FEATURES))
        x[:, :2] = rng.integers(0, 5, size=(count, 2))
        return [x.astype(np.float32)]

    [x] = inputs(400, 13)
    y = (x[:, 0] == 3) * 2.0 + np.isin(x[:, 1], [1, 4]) * x[:, 2]
    trained = LGBMRegressor(n_estimators=10, num_leaves=8, min_data_per_group=5, cat_smooth=1, random_state=SEED, verbose=-1)
    trained.fit(x, y, categorical_feature=[0, 1])
    return convert_lightgbm(trained, initial_types=[("x", MltoolsFloat([None, FEATURES]))], target_opset=15), inputs


def xgboost(estimator, count=None, missing=False):
    def make():
        x, y = classes(count) if count else numbers()
        x = punched(x) if missing else x
        estimator.fit(x.astype(np.float32), y)
        initial = [("x", MltoolsFloat([None, FEATURES]))]
        return convert_xgboost(estimator, initial_types=initial, target_opset=15), holes if missing else rows()

    return make


def lightgbm(estimator, count=None, missing=False, **options):
    def make():
        x, y = classes(count) if count else numbers()
        x = punched(x) if missing else x
        estimator.fit(x.astype(np.float32), y)
        initial = [("x", MltoolsFloat([None, FEATURES]))]
        made = convert_lightgbm(estimator, initial_types=initial, target_opset=15, zipmap=False, **options)
        return made, holes if missing else rows()

    return make


def operator(kind, inputs, outputs, given, opset=3, **attributes):
    """A graph of one operator. Inputs are names with an element type and a shape, outputs names with an element type."""

    def make():
        node = helper.make_node(kind, list(inputs), list(outputs), domain="ai.onnx.ml", **attributes)
        ports = [helper.make_tensor_value_info(name, *port) for name, port in inputs.items()]
        answers = [helper.make_tensor_value_info(name, element, None) for name, element in outputs.items()]
        sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
        return helper.make_model(helper.make_graph([node], "g", ports, answers), opset_imports=sets, ir_version=8), given

    return make


FLOAT, DOUBLE, INT, TEXT = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING
ROWS = {"x": (FLOAT, [None, FEATURES])}
BRANCHES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def halves(count):
    """Rows of halves, so that some are equal to a split, with numbers missing."""
    [x] = holes(count)
    return [np.round(x * 2) / 2]


def trees(prefix, targets, count=7, positive=False, one_target=False, branches=BRANCHES):
    """Attributes of trees of random splits: each of one root, two branches, four leaves."""
    rng = np.random.default_rng(8)
    nodes = {"treeids": [], "nodeids": [], "featureids": [], "values": [], "modes": []}
    nodes |= {"truenodeids": [], "falsenodeids": [], "missing_value_tracks_true": []}
    votes = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(count):
        for node in range(7):
            leaf = node > 2
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(int(rng.integers(FEATURES)))
            nodes["values"].append(float(np.round(rng.normal() * 2) / 2))
            nodes["modes"].append("LEAF" if leaf else branches[tree % len(branches)])
            nodes["truenodeids"].append(0 if leaf else 2 * node + 1)
            nodes["falsenodeids"].append(0 if leaf else 2 * node + 2)
            nodes["missing_value_tracks_true"].append(int(rng.integers(2)))
            for target in ([0] if one_target else range(targets)) if leaf else []:
                votes["treeids"].append(tree)
                votes["nodeids"].append(node)
                votes["ids"].append(target)
                weight = float(rng.normal())
                votes["weights"].append(abs(weight) / count if positive else weight)
    return {f"nodes_{k}": v for k, v in nodes.items()} | {f"{prefix}_{k}": v for k, v in votes.items()}


def tree_regressor(targets, branches=BRANCHES, **attributes):
    made = trees("target", targets, branches=branches) | {"n_targets": targets} | attributes
    return operator("TreeEnsembleRegressor", ROWS, {"y": FLOAT}, halves, **made)


def tree_classifier(labels, positive=False, one_target=False, **attributes):
    made = trees("class", len(labels), positive=positive, one_target=one_target) | attributes
    texts = isinstance(labels[0], str)
    made["classlabels_strings" if texts else "classlabels_int64s"] = labels
    outputs = {"label": TEXT if texts else INT, "scores": FLOAT}
    return operator("TreeEnsembleClassifier", ROWS, outputs, halves, **made)


def newer_trees(element, dtype, **attributes):
    """The operator TreeEnsemble of version 5: the trees of above, and one that is a leaf."""
    old = trees("target", 1)
    rng = np.random.default_rng(9)
    inner = [at for at, mode in enumerate(old["nodes_modes"]) if mode != "LEAF"]
    modes = [BRANCHES.index(old["nodes_modes"][at]) for at in inner]
    modes[4] = modes[8] = 6
    new = {"true": ([], []), "false": ([], [])}
    for at in inner:
        tree, node = divmod(at, 7)
        for side, (ids, leafs) in new.items():
            child = old[f"nodes_{side}nodeids"][at]
            leafs.append(int(child > 2))
            ids.append(tree * 4 + child - 3 if child > 2 else tree * 3 + child)
    leaves = len(old["target_ids"])
    # The leaf of the last tree: a number of both a node and a leaf, as ONNX Runtime takes the one for the other there.
    leaf = len(inner)
    features = [old["nodes_featureids"][at] for at in inner] + [0]
    made = {
        "tree_roots": [*range(0, len(inner), 3), len(inner)],
        "nodes_featureids": features,
        "nodes_modes": helper.make_tensor("modes", TensorProto.UINT8, [len(features)], [*modes, 0]),
        "nodes_splits": numpy_helper.from_array(
            np.array([old["nodes_values"][at] for at in inner] + [0.0], dtype=dtype), "splits"
        ),
        "nodes_truenodeids": [*new["true"][0], leaf],
        "nodes_falsenodeids": [*new["false"][0], leaf],
        "nodes_trueleafs": [*new["true"][1], 1],
        "nodes_falseleafs": [*new["false"][1], 1],
        "nodes_missing_value_tracks_true": [old["nodes_missing_value_tracks_true"][at] for at in inner] + [0],
        "membership_values": numpy_helper.from_array(
            np.array([0.5, 1.0, -0.5, np.nan, 1.5, -1.0, np.nan], dtype=dtype), "members"
        ),
        "leaf_targetids": [int(target) for target in rng.integers(3, size=leaves)],
        "leaf_weights": numpy_helper.from_array(rng.normal(size=leaves).astype(dtype), "weights"),
        "n_targets": 3,
    } | attributes
    given = lambda count: [halves(count)[0].astype(dtype)]
    return operator("TreeEnsemble", {"x": (element, [None, FEATURES])}, {"y": element}, given, opset=5, **made)


def small(count):
    return [np.random.default_rng(10).integers(0, 6, size=(count, 3)).astype(np.int64)]


def texts(count):
    return [np.random.default_rng(11).choice(["a", "b", "c", "d"], size=(count, 1)).astype(object)]


def tensor(values):
    if isinstance(values[0], str):
        return helper.make_tensor("t", TEXT, [len(values)], [value.encode() for value in values])
    return numpy_helper.from_array(np.array(values), "t")


INTS, TEXTS = {"x": (INT, [None, 3])}, {"x": (TEXT, [None, 1])}
several(
    tree_average=tree_regressor(2, aggregate_function="AVERAGE", base_values=[0.5, -0.5]),
    tree_ordered=tree_regressor(2, branches=BRANCHES[:4]),
    tree_min=tree_regressor(2, aggregate_function="MIN", base_values=[0.5, -0.5]),
    tree_max=tree_regressor(1, aggregate_function="MAX", base_values=[2.0]),
    tree_softmax=tree_regressor(3, post_transform="SOFTMAX"),
    tree_softmax_zero=tree_regressor(3, post_transform="SOFTMAX_ZERO"),
    tree_logistic=tree_regressor(3, post_transform="LOGISTIC"),
    tree_classes=tree_classifier([3, 5, 9], post_transform="SOFTMAX", base_values=[0.1, 0.2, 0.3]),
    tree_text_classes=tree_classifier(["x", "y", "z"], post_transform="LOGISTIC"),
    tree_probit=tree_classifier([0, 1, 2], positive=True, post_transform="PROBIT"),
    tree_two_shares=tree_classifier([4, 2], positive=True, one_target=True),
    tree_two_signed=tree_classifier([4, 2], one_target=True),
    tree_two_logistic=tree_classifier(["n", "y"], one_target=True, post_transform="LOGISTIC", base_values=[0.3]),
    newer_trees_sum=newer_trees(FLOAT, np.float32),
    newer_trees_double=newer_trees(DOUBLE, np.float64, aggregate_function=0),
    newer_trees_min=newer_trees(FLOAT, np.float32, aggregate_function=2),
    newer_trees_max=newer_trees(FLOAT, np.float32, aggregate_function=3, post_transform=3),
    label_encoder_texts=operator(
        "LabelEncoder", TEXTS, {"y": INT}, texts, keys_strings=["a", "b", "c"], values_int64s=[7, 8, 9], default_int64=-5
    ),
    label_encoder_ints=operator(
        "LabelEncoder", INTS, {"y": FLOAT}, small, keys_int64s=[0, 1, 2], values_floats=[0.5, 1.5, 2.5], default_float=9.0
    ),
    label_encoder_floats=operator(
        "LabelEncoder", ROWS, {"y": FLOAT}, halves, opset=4, keys_floats=[0.5, 1.0, float("nan")], values_floats=[5.0, 10.0, -1.0]
    ),
    label_encoder_tensors=operator(
        "LabelEncoder", INTS, {"y": DOUBLE}, small, opset=4,
        keys_tensor=tensor([0, 1, 2]), values_tensor=tensor([0.5, 1.5, 2.5]), default_tensor=tensor([-1.0]),
    ),
    label_encoder_first=operator("LabelEncoder", TEXTS, {"y": INT}, texts, opset=1, classes_strings=["a", "b", "c"]),
    category_mapper=operator(
        "CategoryMapper", TEXTS, {"y": INT}, texts, cats_strings=["c", "b"], cats_int64s=[4, 1], default_int64=0
    ),
    one_hot_texts=operator("OneHotEncoder", TEXTS, {"y": FLOAT}, texts, cats_strings=["d", "a"], zeros=1),
    one_hot_all=operator("OneHotEncoder", INTS, {"y": FLOAT}, small, cats_int64s=[0, 1, 2, 3, 4, 5], zeros=0),
    feature_vectorizer=operator(
        "FeatureVectorizer", ROWS | {"z": (FLOAT, [None, 3])}, {"y": FLOAT},
        lambda count: [*rows()(count), np.ones((count, 3), np.float32)], inputdimensions=[FEATURES, 3],
    ),
    imputed_ints=operator(
        "Imputer", INTS, {"y": INT}, small, imputed_value_int64s=[10, 20, 30], replaced_value_int64=2
    ),
    picked_texts=operator(
        "LabelEncoder", INTS, {"y": TEXT}, lambda count: [small(count)[0]], keys_int64s=[0, 1], values_strings=["zero", "one"]
    ),
    linear_logistic=operator(
        "LinearRegressor", ROWS, {"y": FLOAT}, rows(), coefficients=[0.1 * at for at in range(12)], targets=2,
        intercepts=[0.5, -0.5], post_transform="LOGISTIC",
    ),
    linear_one_score=operator(
        "LinearClassifier", ROWS, {"label": INT, "scores": FLOAT}, rows(), coefficients=[0.1, -0.2, 0.3, 0.4, 0.5, -0.6],
        intercepts=[0.1], classlabels_ints=[5, 3],
    ),
    svm_functions=operator(
        "SVMClassifier", ROWS, {"label": INT, "scores": FLOAT}, rows(), coefficients=[0.1 * (at % 5) - 0.2 for at in range(18)],
        rho=[0.3], classlabels_ints=[2, 4, 6], kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0],
        post_transform="SOFTMAX",
    ),
)

SMALL = {"n_estimators": 12, "max_depth": 4, "random_state": SEED}
LIGHT = {"n_estimators": 12, "num_leaves": 12, "random_state": SEED, "verbose": -1}
several(
    double_linear=doubles(LinearRegression()),
    double_logistic=doubles(LogisticRegression(), 3),
    double_scaled=doubles(make_pipeline(StandardScaler(), Ridge())),
    double_forest=doubles(RandomForestClassifier(10, max_depth=6, random_state=SEED), 3),
    double_forest_two=doubles(RandomForestClassifier(10, max_depth=6, random_state=SEED), 2),
    double_svc=doubles(SVC(probability=True, random_state=SEED), 3),
    xgboost_two=xgboost(XGBClassifier(**SMALL), 2),
    xgboost_multiclass=xgboost(XGBClassifier(**SMALL), 4),
    xgboost_regressor=xgboost(XGBRegressor(**SMALL)),
    xgboost_missing=xgboost(XGBRegressor(**SMALL), missing=True),
    lightgbm_two=lightgbm(LGBMClassifier(**LIGHT), 2),
    lightgbm_multiclass=lightgbm(LGBMClassifier(**LIGHT), 3),
    lightgbm_regressor=lightgbm(LGBMRegressor(**LIGHT)),
    lightgbm_missing=lightgbm(LGBMRegressor(**LIGHT), missing=True),
    lightgbm_split=lightgbm(LGBMRegressor(**LIGHT), split=5),
)


def probabilities(value):
    """What a map of class to probability was made of."""
    return np.array([list(row.values()) for row in value], dtype=np.float32)


def write(folder, stem, value):
    if isinstance(value, list):
        value = probabilities(value)
    if value.dtype.kind in "OU":
        flat = value.reshape(len(value), -1).tolist()
        (folder / f"{stem}.json").write_text(json.dumps([row[0] if len(row) == 1 else row for row in flat]))
    else:
        np.save(folder / f"{stem}.npy", value)


def save(folder, made, inputs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    # Several threads add up a forest's votes in another order each time, which decides where it is of two minds.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for count in BATCHES:
        batch = folder / str(count)
        batch.mkdir(exist_ok=True)
        given = inputs(count)
        names = [port.name for port in session.get_inputs()]
        answers = session.run(None, dict(zip(names, given, strict=True)))
        for at, value in enumerate(given):
            write(batch, f"input_{at}", value)
        for at, value in enumerate(answers):
            write(batch, f"output_{at}", value)


def main():
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(__doc__)
    warnings.filterwarnings("ignore")
    out = Path(arguments[0])
    names = COMMITTED if arguments[1:] == ["--committed"] else arguments[1:] or MADE
    failed = []
    for name in names:
        try:
            made, inputs = MADE[name]()
            save(out / name, made, inputs)
            operators = sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in made.graph.node})
            print(f"{name}: {', '.join(operators)}")
        except Exception as error:
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}")
    if failed:
        sys.exit(f"could not be made: {', '.join(failed)}")


if __name__ == "__main__":
    main()
